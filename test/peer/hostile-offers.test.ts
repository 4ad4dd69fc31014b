import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encode, type HostileWorker } from './hostile-worker.ts';
import { type House, PeerLab } from './peer-lab.ts';

const FOREIGN = '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC';
const ZERO = `0x${'0'.repeat(40)}`;
const TEN_YEARS = 10 * 365 * 86_400;
const USDC = { name: 'USDC', version: '2' };

let lab: PeerLab;
let worker: HostileWorker;
let house: House;

beforeAll(async () => {
  lab = await PeerLab.open();
});

beforeEach(async () => {
  worker = await lab.worker();
  house = await lab.house();
});

afterAll(async () => {
  await lab?.close();
});

/** An offer with one thing wrong; a function where it depends on the network. */
type Twist = Record<string, unknown> | (() => Record<string, unknown>);

const UNPAYABLE: [string, string, Twist][] = [
  ['a maxTimeoutSeconds that is a string', 'malformed', { maxTimeoutSeconds: '900' }],
  ['a negative maxTimeoutSeconds', 'timeout', { maxTimeoutSeconds: -900 }],
  ['a maxTimeoutSeconds of ten years', 'timeout', { maxTimeoutSeconds: TEN_YEARS }],
  ['a maxTimeoutSeconds of zero', 'timeout', { maxTimeoutSeconds: 0 }],
  ['a maxTimeoutSeconds that is no whole number', 'timeout', { maxTimeoutSeconds: 900.5 }],
  ['a negative amount', 'amount', { amount: '-50000' }],
  ['a hex amount', 'amount', { amount: '0xc350' }],
  ['an amount with an exponent', 'amount', { amount: '5e4' }],
  ['a spaced amount', 'amount', { amount: ' 50000' }],
  ['an amount of nothing', 'amount', { amount: '0' }],
  ['an amount beyond all money', 'amount', { amount: '1'.padEnd(40, '0') }],
  ['an amount that is a number', 'malformed', { amount: 50_000 }],
  ['an amount that is a list', 'malformed', { amount: ['50000'] }],
  ['no amount', 'amount', { amount: undefined }],
  ['the zero address as payee', 'pay_to', { payTo: ZERO }],
  ['a payee with a bad checksum', 'pay_to', { payTo: FOREIGN.replace('C44C', 'c44C') }],
  ['the token as payee', 'pay_to', () => ({ payTo: lab.network.usdc })],
  ['a payee that is no address', 'pay_to', { payTo: 'vitalik.eth' }],
  ['Permit2', 'transfer_method', { extra: { ...USDC, assetTransferMethod: 'permit2' } }],
  ['ERC-7710', 'transfer_method', { extra: { ...USDC, assetTransferMethod: 'erc7710' } }],
  ['escrow', 'flow', { extra: { ...USDC, paymentFlow: 'escrow' } }],
  ['the scheme upto', 'scheme', { scheme: 'upto' }],
  ['the scheme batch-settlement', 'scheme', { scheme: 'batch-settlement' }],
  ['an unknown asset', 'asset', { asset: FOREIGN }],
  ['an unknown network', 'network', { network: 'eip155:31337' }],
  ['a network of another family', 'network', { network: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp' }],
  ['a domain name that is not ours', 'domain', { extra: { name: 'USD Coin', version: '2' } }],
  ['a domain version that is not ours', 'domain', { extra: { name: 'USDC', version: '1' } }],
  ['no domain', 'malformed', { extra: {} }],
  ['a second domain that differs', 'domain', { extra: { ...USDC, eip712Domain: { verifyingContract: FOREIGN } } }],
];

describe('an offer with', () => {
  it.each(UNPAYABLE)('%s is named and neither quoted nor paid', async (_what, problem, twist) => {
    worker.offer = typeof twist === 'function' ? twist() : twist;
    const error = await house.refuses(house.probe(worker));
    expect(error).toMatchObject({ code: 'no_payable_offer', message: expect.stringContaining(`(1 × ${problem})`) });
    await house.refuses(house.submit(worker, { max_price_usdc: 0.25 }));
    expect(worker.payments).toEqual([]);
  });

  it('our own wallet as payee is refused at the latest before its price is reserved', async () => {
    const quote_id = await house.quote(worker);
    worker.offer = { payTo: lab.network.payer };
    const view = await house.run(worker, { quote_id });
    expect(view).toMatchObject({ state: 'refused', settlement: 'none' });
    expect(view.reason).toContain(`quoted, "${lab.network.payer}" now`);
    const direct = await house.refuses(house.submit(worker));
    expect(direct).toMatchObject({ code: 'no_payable_offer', message: expect.stringContaining('(1 × pay_to)') });
    expect(house.signed).toEqual([]);
    expect(worker.payments).toEqual([]);
    expect(await house.ledger(view.experiment_id)).toEqual({ held: 0, spent: 0, released: 0 });
  });

  it('a payee that is neither wallet nor owner of its registration is warned of', async () => {
    const registration = {
      name: 'stranger',
      description: 'devops_mlops/model_versioning',
      services: [
        { name: 'web', endpoint: worker.endpoint },
        { name: 'OASF', skills: ['devops_mlops/model_versioning'] },
      ],
    };
    const uri = `data:application/json,${encodeURIComponent(JSON.stringify(registration))}`;
    const { owner } = await lab.network.registerAgent(uri, 0);
    await house.services.discovery.discover({ limit: 100, refresh: true });
    const warnings = async () => (await house.probe(worker)).warnings.join();
    await expect.poll(warnings).toContain('neither the wallet nor the owner');
    worker.offer = { payTo: owner };
    expect(await warnings()).not.toContain('neither the wallet nor the owner');
  });

  it('a price above the cap of one experiment is shown and not paid', async () => {
    worker.offer = { amount: '9000000' };
    expect(await house.probe(worker)).toMatchObject({ price_usdc: '9.00', within_budget: false });
    const error = await house.refuses(house.submit(worker));
    expect(error).toMatchObject({ code: 'over_price_cap', message: expect.stringContaining('9.00 USDC') });
  });

  it('a time limit too short for the run is refused unless the caller allows it', async () => {
    worker.offer = { maxTimeoutSeconds: 65 };
    const probed = await house.probe(worker);
    expect(probed.warnings.join()).toContain('must settle within 65 s');
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'refused', reason_code: 'timeout_too_short' });
    expect(house.signed).toEqual([]);
    const allowed = await house.run(worker, { allow_short_timeout: true });
    expect(allowed).toMatchObject({ state: 'published', settlement: 'settled' });
  });

  it('a window of a day is signed for no longer than the run needs', async () => {
    worker.offer = { maxTimeoutSeconds: 86_400 };
    const id = await house.submit(worker);
    await house.end(id);
    const [signed] = house.signed;
    // Ten seconds for the run, as the worker says, and two minutes of margin.
    expect(Number(signed?.message.validBefore) - lab.nowMs() / 1_000).toBeLessThanOrEqual(130);
  });
});

describe('terms', () => {
  it('that name the resource of another host are warned of, and that host is never asked', async () => {
    const other = await lab.worker();
    house = await lab.house();
    worker.envelope = { resource: { url: `${other.endpoint}/experiment`, description: '', mimeType: '' } };
    const probed = await house.probe(worker);
    expect(probed.warnings.join()).toContain('another host');
    expect(await house.run(worker)).toMatchObject({ state: 'published', settlement: 'settled' });
    expect(other.log).toEqual([]);
  });

  it('with bad offers around a good one are paid by the good one, the cheapest', async () => {
    const cheap = { ...worker.requirements(), amount: '20000' };
    const accepts = [
      { ...cheap, amount: '1', scheme: 'upto' },
      { ...cheap, amount: '30000' },
      null,
      cheap,
      { ...cheap, network: 'base-sepolia', amount: '10' },
      'pay me',
    ];
    worker.offer = { amount: '20000' };
    worker.envelope = { accepts };
    const id = await house.submit(worker);
    expect(await house.end(id)).toMatchObject({ state: 'published', price_atomic: '20000' });
    await house.expectOnePayment(id, worker, 20_000n);
  });

  it('without a single offer are refused', async () => {
    worker.envelope = { accepts: [] };
    const error = await house.refuses(house.probe(worker));
    expect(error).toMatchObject({ code: 'no_payable_offer', message: expect.stringContaining('none at all') });
  });

  it.each<[string, Record<string, string>, string]>([
    ['no JSON', { 'payment-required': '!!!' }, '<html>402</html>'],
    ['a version of the future', { 'payment-required': encode({ x402Version: 3, accepts: [{}] }) }, '{}'],
    ['a version in words', {}, JSON.stringify({ x402Version: '2', accepts: [] })],
    ['nothing', {}, ''],
    ['a list', {}, '[]'],
  ])('of %s are unreadable, whatever they say', async (_what, headers, body) => {
    worker.answers.probe = (exchange) => exchange.text(402, body, headers);
    const error = await house.refuses(house.probe(worker));
    expect(error.code).toBe('terms_unreadable');
  });

  it('nested beyond all sense are unreadable', async () => {
    const deep = `${'['.repeat(5_000)}${']'.repeat(5_000)}`;
    worker.answers.probe = (exchange) =>
      exchange.text(402, `{"x402Version":2,"accepts":[],"extensions":{"a":${deep}}}`);
    expect((await house.refuses(house.probe(worker))).code).toBe('terms_unreadable');
  });
});
