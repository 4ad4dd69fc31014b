import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { type Exchange, encode, type HostileWorker, PRICE_ATOMIC } from '../peer/hostile-worker.ts';
import { type House, PeerLab } from '../peer/peer-lab.ts';

const SPENT = { held: 0, spent: Number(PRICE_ATOMIC), released: 0 };
const Accepted = z.looseObject({ accepted: z.record(z.string(), z.unknown()) });
const Verified = z.looseObject({ isValid: z.boolean() });

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

const decode = (header: string | undefined): unknown =>
  JSON.parse(Buffer.from(header ?? '', 'base64').toString('utf8'));

async function expectPaid(): Promise<void> {
  const view = await house.run(worker);
  expect(view).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5 });
  await house.expectOnePayment(view.experiment_id, worker, PRICE_ATOMIC);
  expect(worker.payments).toHaveLength(1);
  expect(await house.ledger(view.experiment_id)).toEqual(SPENT);
  expect(await lab.balance(worker.payTo)).toBe(PRICE_ATOMIC);
}

/** A gate as Obol's stack has it: the same terms in header and body, fields compared as texts. */
function beObol(options: { header: 'x-payment' | 'payment-signature'; hasTwins: boolean }): void {
  const refuse = (exchange: Exchange) =>
    exchange.json(402, worker.terms(), { 'payment-required': encode(worker.terms()) });
  const offer = worker.requirements();
  const twin = { ...offer, network: 'base-sepolia' };
  worker.envelope = { accepts: options.hasTwins ? [offer, twin] : [offer], extensions: {} };
  worker.answers = {
    probe: refuse,
    paid: async (exchange) => {
      const header = exchange.seen.headers[options.header];
      if (header === undefined) return refuse(exchange);
      const { accepted } = Accepted.parse(decode(header));
      for (const field of ['scheme', 'network', 'amount', 'asset', 'payTo'])
        if (accepted[field] !== offer[field]) return refuse(exchange);
      const receipt = encode(await exchange.settle());
      exchange.json(200, exchange.result(), { 'x-payment-response': receipt });
    },
  };
}

describe("a gate of Obol's make", () => {
  it.each([
    ['the older one, which reads X-PAYMENT alone', { header: 'x-payment', hasTwins: false }],
    ['the newer one, with alias twins', { header: 'x-payment', hasTwins: true }],
    ['one that reads the new header', { header: 'payment-signature', hasTwins: true }],
  ] as const)('(%s) is paid once', async (_which, options) => {
    beObol(options);
    await expectPaid();
  });

  it('that names payee and asset in lower case gets them back as it wrote them', async () => {
    worker.offer = { payTo: worker.payTo.toLowerCase(), asset: lab.network.usdc.toLowerCase() };
    beObol({ header: 'x-payment', hasTwins: true });
    await expectPaid();
  });

  it('whose facilitator cannot verify is sent the same payment again', async () => {
    beObol({ header: 'x-payment', hasTwins: true });
    const { paid } = worker.answers;
    worker.answers.paid = (exchange) =>
      exchange.arrivals === 1 ? exchange.text(503, 'Payment verification failed') : paid?.(exchange);
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'published', settlement: 'settled', attempt: 1 });
    expect(worker.payments).toHaveLength(2);
    await house.expectOnePayment(view.experiment_id, worker, PRICE_ATOMIC);
  });
});

describe('a gate of x402 v1', () => {
  it('is paid with X-PAYMENT in the form of v1, verified and settled by a facilitator', async () => {
    const { amount, ...offer } = worker.requirements();
    const v1 = {
      ...offer,
      network: 'base-sepolia',
      maxAmountRequired: amount,
      resource: `${worker.endpoint}/experiment`,
      description: 'exp',
      mimeType: '',
      outputSchema: { input: { type: 'http', method: 'POST', discoverable: true } },
    };
    worker.offer = { amount: undefined, ...v1 };
    const terms = { x402Version: 1, error: 'X-PAYMENT header is required', accepts: [v1] };
    worker.answers = {
      probe: (exchange) => exchange.json(402, terms),
      paid: async (exchange) => {
        expect(exchange.seen.headers['payment-signature']).toBeUndefined();
        const paymentPayload = decode(exchange.seen.headers['x-payment']);
        expect(paymentPayload).toMatchObject({ x402Version: 1, scheme: 'exact', network: 'base-sepolia' });
        const answer = await fetch(`${lab.facilitator.origin}/verify`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ x402Version: 1, paymentPayload, paymentRequirements: v1 }),
        });
        expect(Verified.parse(await answer.json())).toMatchObject({ isValid: true });
        const receipt = encode(await exchange.settle());
        exchange.json(200, exchange.result(), { 'x-payment-response': receipt });
      },
    };
    expect(await house.probe(worker)).toMatchObject({ price_atomic: '50000', network: 'base-sepolia' });
    await expectPaid();
  });
});

describe('terms of before x402 v1', () => {
  it.each([
    ['50000', '0.05 USDC'],
    [50_000, '0.05 USDC'],
    ['0.05', '0.05 USDC'],
    ['much', 'an amount that cannot be read'],
  ])('(flat, %s) are read and priced, never paid', async (maxAmountRequired, price) => {
    worker.answers.probe = (exchange) =>
      exchange.json(402, { payTo: worker.payTo, network: 'base-sepolia', maxAmountRequired });
    const error = await house.refuses(house.probe(worker));
    expect(error).toMatchObject({ code: 'terms_flat', message: expect.stringContaining(`asks ${price}`) });
    await house.refuses(house.submit(worker));
    expect(worker.payments).toEqual([]);
  });
});

describe('a worker without a gate', () => {
  it('is used for nothing when it is named, and nothing is signed for it', async () => {
    worker.answers.probe = (exchange) =>
      exchange.seen.body.includes('"probe":true')
        ? exchange.json(200, { status: 'ok', probe: true, busy: false, timeoutSeconds: 300 })
        : exchange.json(200, exchange.result());
    expect(await house.probe(worker)).toMatchObject({ free: true });
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'published', settlement: 'none', val_bpb: 1.5, price_atomic: '0' });
    expect(house.signed).toEqual([]);
    expect(worker.payments).toEqual([]);
    expect(await house.ledger(view.experiment_id)).toEqual({ held: 0, spent: 0, released: 0 });
  });
});
