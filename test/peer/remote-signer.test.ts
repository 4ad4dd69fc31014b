import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readPayerKey } from '../localnet-client.ts';
import { type HostileWorker, PRICE_ATOMIC } from './hostile-worker.ts';
import { type House, PeerLab } from './peer-lab.ts';
import { type SignAnswer, SignerStandIn, SPOILERS } from './signer-stand-in.ts';

const PRICE = Number(PRICE_ATOMIC);
const SPENT = { held: 0, spent: PRICE, released: 0 };
const FOREIGN = '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC';

let lab: PeerLab;
let worker: HostileWorker;
let signer: SignerStandIn;

beforeAll(async () => {
  lab = await PeerLab.open();
});

beforeEach(async () => {
  worker = await lab.worker();
  signer = await SignerStandIn.start(readPayerKey(lab.network));
});

afterEach(async () => {
  // Whatever went wrong, nothing else was ever asked of the signer.
  for (const { method, path } of signer.log)
    expect(`${method} ${path}`).toMatch(/^(GET \/api\/v1\/keys|POST \/api\/v1\/sign\/0x[0-9a-fA-F]{40}\/typed-data)$/);
  await signer.close();
});

afterAll(async () => {
  await lab?.close();
});

function open(env: Readonly<Record<string, string>> = {}): Promise<House> {
  return lab.house({ isWalletFromEnv: true, env: { REMOTE_SIGNER_URL: signer.url, ...env } });
}

/** Pays through the signer: once, with the one nonce of the one attempt. */
async function expectPaid(env: Readonly<Record<string, string>> = {}): Promise<void> {
  const house = await open(env);
  const view = await house.run(worker);
  expect(view).toMatchObject({ state: 'published', settlement: 'settled' });
  expect(await house.ledger(view.experiment_id)).toEqual(SPENT);
  expect(await lab.balance(worker.payTo)).toBe(PRICE_ATOMIC);
  const [attempt] = await house.attempts(view.experiment_id);
  expect(signer.nonces).toEqual([attempt?.payment?.intent.nonce]);
}

/** Refuses with a code; nothing reached the worker and nothing is held. */
async function expectRefused(code: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const house = await open(env);
  const view = await house.run(worker);
  expect(view).toMatchObject({ state: 'refused', settlement: 'none', reason_code: code });
  expect(worker.payments).toEqual([]);
  expect(await house.ledger(view.experiment_id)).toMatchObject({ held: 0, spent: 0 });
  expect(signer.nonces.length).toBeLessThanOrEqual(1);
  return `${view.reason} ${view.next_step}`;
}

describe('the token', () => {
  it('is sent with everything that is asked', async () => {
    signer.token = 's3cret-token';
    await expectPaid({ REMOTE_SIGNER_TOKEN: ' s3cret-token ' });
    expect(new Set(signer.log.map(({ authorization }) => authorization))).toEqual(new Set(['Bearer s3cret-token']));
  });

  it.each([401, 403])('that is wrong (HTTP %i) stops paying and names the variable', async (status) => {
    signer.token = 's3cret-token';
    signer.unauthorizedStatus = status;
    const told = await expectRefused('signer_unauthorized', { REMOTE_SIGNER_TOKEN: 'wrong-token' });
    expect(told).toContain('REMOTE_SIGNER_TOKEN');
    expect(told).not.toContain('wrong-token');
  });

  it('that is missing stops paying', async () => {
    signer.token = 's3cret-token';
    await expectRefused('signer_unauthorized');
  });

  it('is not needed where the signer asks for none', async () => {
    await expectPaid();
    expect(signer.log.every(({ authorization }) => authorization === undefined)).toBe(true);
  });
});

describe('the list of keys', () => {
  it('may be a bare list', async () => {
    signer.keys = { body: [signer.address] };
    await expectPaid();
  });

  it('is spelled in paths as the signer spells it', async () => {
    const spelled = signer.address.toLowerCase();
    signer.keys = { body: { keys: [spelled] } };
    await expectPaid();
    expect(signer.log.at(-1)?.path).toContain(spelled);
  });

  it('with several keys wants a choice, and pays from the chosen one', async () => {
    signer.keys = { body: { keys: [FOREIGN, signer.address] } };
    expect(await expectRefused('signer_ambiguous')).toContain('AUTORESEARCH_PAYER');
    await expectPaid({ AUTORESEARCH_PAYER: signer.address.toLowerCase() });
  });

  it('without the chosen key is refused and shows what it has', async () => {
    expect(await expectRefused('signer_unknown_address', { AUTORESEARCH_PAYER: FOREIGN })).toContain(signer.address);
  });

  it.each<[string, SignAnswer, string]>([
    ['empty', { body: { keys: [] } }, 'signer_ambiguous'],
    ['no list', { body: { keys: 'all' } }, 'signer_bad_answer'],
    ['of no addresses', { body: ['0x12'] }, 'signer_bad_answer'],
    ['HTML', { body: '<html></html>' }, 'signer_unreachable'],
    ['a reset', 'reset', 'signer_unreachable'],
    ['too large', { body: `["${'0'.repeat(100_000)}"]` }, 'signer_unreachable'],
  ])('that is %s is refused before anything is reserved', async (_what, keys, code) => {
    signer.keys = keys;
    await expectRefused(code);
    expect(signer.signBodies).toEqual([]);
  });
});

describe('a signature', () => {
  it('with v 0 or 1 of an old image is brought into the form that USDC takes', async () => {
    signer.onSign = (signature) => ({ body: { signature: SPOILERS.lowV(signature) } });
    await expectPaid();
  });

  it.each<[string, (signature: string) => string]>([
    ['with a high s', SPOILERS.highS],
    ['in the compact form', SPOILERS.compact],
    ['with an unknown v', SPOILERS.unknownV],
    ['of zeros', () => `0x${'0'.repeat(128)}1b`],
    ['of 1 MB', (signature) => signature.padEnd(60_000, '0')],
  ])('%s is never sent, and its reservation is free', async (_what, spoil) => {
    signer.onSign = (signature) => ({ body: { signature: spoil(signature) } });
    const house = await open();
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'refused', settlement: 'none' });
    expect(worker.payments).toEqual([]);
    expect(await house.ledger(view.experiment_id)).toEqual({ held: 0, spent: 0, released: PRICE });
    expect(house.unexpected).toEqual([]);
  });

  it.each<[string, (signature: string) => string]>([
    ['without 0x', SPOILERS.bare],
    ['with a space', SPOILERS.spaced],
  ])('%s is no signature', async (_what, spoil) => {
    signer.onSign = (signature) => ({ body: { signature: spoil(signature) } });
    await expectRefused('signer_bad_answer');
  });

  it('of another key is never sent', async () => {
    const other = await SignerStandIn.start();
    signer.onSign = async (_signature, { body }) => ({ body: { signature: await other.sign(body) } });
    await expectRefused('bad_signature');
    await other.close();
  });

  it.each<[string, SignAnswer, string]>([
    ['missing', { body: {} }, 'signer_bad_answer'],
    ['an HTML page', { body: '<html>login</html>' }, 'signer_unreachable'],
    ['BAD_REQUEST', { status: 400, body: { code: 'BAD_REQUEST', error: 'evil words' } }, 'signer_refused'],
    ['unauthorized', { status: 401, body: { error: 'evil words' } }, 'signer_unauthorized'],
    ['forbidden', { status: 403, body: { error: 'evil words' } }, 'signer_unauthorized'],
    ['SIGNER_NOT_FOUND', { status: 404, body: { code: 'SIGNER_NOT_FOUND' } }, 'signer_unknown_address'],
    ['MISSING_FIELD', { status: 422, body: { code: 'MISSING_FIELD' } }, 'signer_refused'],
    ['SIGNING_ERROR', { status: 500, body: { code: 'SIGNING_ERROR' } }, 'signer_refused'],
    ['a reset', 'reset', 'signer_unreachable'],
    ['a redirect', { status: 307, body: '', headers: { location: 'http://127.0.0.1:9/' } }, 'signer_refused'],
  ])('that is %s ends the experiment with nothing sent and nothing held', async (_what, answer, code) => {
    signer.onSign = () => answer;
    expect(await expectRefused(code)).not.toContain('evil');
    // Asked again only with the very same request.
    expect(new Set(signer.signBodies).size).toBe(1);
    expect(signer.signBodies.length).toBeLessThanOrEqual(2);
  });

  it('that fails once is asked again with the identical request', async () => {
    let tries = 0;
    signer.onSign = (signature) => {
      tries += 1;
      return tries === 1 ? { status: 500, body: { code: 'SIGNING_ERROR' } } : { body: { signature } };
    };
    await expectPaid();
    expect(signer.signBodies).toHaveLength(2);
    expect(new Set(signer.signBodies).size).toBe(1);
  });
});

describe('a signer that takes its time', () => {
  it.each<[string, number]>([
    ['until the window is over', 1_000],
    ['until too little of the window is left', 100],
  ])('%s has its signature thrown away unsent, and a fresh attempt has its own nonce', async (_what, seconds) => {
    let isSlow = true;
    signer.onSign = async (signature) => {
      if (isSlow) await lab.passTime(seconds);
      isSlow = false;
      return { body: { signature } };
    };
    const house = await open();
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'published', settlement: 'settled', attempt: 2 });
    const attempts = await house.attempts(view.experiment_id);
    expect(attempts.map(({ state, sends }) => [state, sends])).toEqual([
      ['unpaid', 0],
      ['settled', 1],
    ]);
    expect(signer.nonces).toEqual(attempts.map(({ payment }) => payment?.intent.nonce));
    expect(worker.nonces).toEqual([signer.nonces[1]]);
    expect(await house.ledger(view.experiment_id)).toEqual({ held: 0, spent: PRICE, released: PRICE });
  });
});
