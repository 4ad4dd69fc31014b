import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Exchange, encode, type HostileWorker, PRICE_ATOMIC } from './hostile-worker.ts';
import { type House, PeerLab } from './peer-lab.ts';

const PRICE = Number(PRICE_ATOMIC);
const HELD = { held: PRICE, spent: 0, released: 0 };
const MEGABYTE = 1024 * 1024;

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

/** Sends without end, as fast as the other side reads. */
function pour({ response }: Exchange, chunk: Buffer): void {
  const next = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', next).on('error', () => {});
  next();
}

const headersOf = (sizeBytes: number) => ({ 'x-padding': 'p'.repeat(sizeBytes) });
const bomb = gzipSync(Buffer.alloc(64 * MEGABYTE));

/** How a worker may spoil an answer, and what we call that. */
const SPOILED: [string, string, (exchange: Exchange) => void][] = [
  ['headers of 128 KiB', 'too_large', (exchange) => exchange.json(200, exchange.result(), headersOf(131_072))],
  [
    'an endless body',
    'too_large',
    (exchange) => {
      exchange.response.writeHead(200, { 'content-type': 'application/json' });
      pour(exchange, Buffer.alloc(65_536, '['));
    },
  ],
  ['a gzip bomb', 'too_large', (exchange) => exchange.text(200, bomb, { 'content-encoding': 'gzip' })],
  ['an unknown encoding', 'bad_encoding', (exchange) => exchange.text(200, '{}', { 'content-encoding': 'zstd' })],
  ['broken gzip', 'bad_encoding', (exchange) => exchange.text(200, '{}', { 'content-encoding': 'gzip' })],
  ['a reset before the answer', 'connection_lost', (exchange) => exchange.reset()],
  [
    'a reset during the body',
    'connection_lost',
    (exchange) => {
      exchange.response.writeHead(200, { 'content-length': 1_000 });
      exchange.response.write('{"experiment_id":', () => exchange.reset());
    },
  ],
];

describe('after payment', () => {
  it.each(SPOILED)('%s leaves the price reserved until the chain proves it unused', async (_what, code, spoil) => {
    worker.answers.paid = spoil;
    const id = await house.submit(worker);
    const told = await house.until(id, ({ settlement }) => settlement === 'unknown');
    expect(told).toMatchObject({ state: 'sent', reason_code: `no_answer_${code}` });
    expect(told.reason).toContain('stays reserved');
    expect(await house.ledger(id)).toEqual(HELD);
    await lab.passWindow();
    expect(await house.end(id)).toMatchObject({ state: 'unpaid', settlement: 'unpaid' });
    expect(await house.ledger(id)).toEqual({ held: 0, spent: 0, released: PRICE });
    await house.expectOnePayment(id, worker, PRICE_ATOMIC);
    expect(worker.payments.length).toBeLessThanOrEqual(4);
    expect(await lab.balance(worker.payTo)).toBe(0n);
  });

  it.each(SPOILED)('%s of a worker that took the money does not lose the result', async (_what, _code, spoil) => {
    worker.answers.paid = async (exchange) => {
      await exchange.settle();
      const result = exchange.result();
      worker.answers.stored = (later) => later.json(200, result);
      spoil(exchange);
    };
    const id = await house.submit(worker);
    expect(await house.end(id)).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5 });
    expect(worker.payments).toHaveLength(1);
    await house.expectOnePayment(id, worker, PRICE_ATOMIC);
    expect(await house.ledger(id)).toEqual({ held: 0, spent: PRICE, released: 0 });
    expect(await lab.balance(worker.payTo)).toBe(PRICE_ATOMIC);
  });

  it('a reset after the whole body takes nothing away from the answer', async () => {
    worker.answers.paid = async (exchange) => {
      const receipt = await exchange.settle();
      const body = JSON.stringify(exchange.result());
      exchange.response.writeHead(200, { 'content-length': body.length, 'payment-response': encode(receipt) });
      exchange.response.write(body, () => setImmediate(() => exchange.reset()));
    };
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'published', settlement: 'settled' });
    expect(worker.payments).toHaveLength(1);
  });

  it('headers of 16 KiB and more beside the result are read', async () => {
    worker.answers.paid = async (exchange) => {
      const receipt = await exchange.settle();
      exchange.json(200, exchange.result(), { ...headersOf(40_000), 'payment-response': encode(receipt) });
    };
    expect(await house.run(worker)).toMatchObject({ state: 'published', settlement: 'settled' });
  });

  it.each<[string, (exchange: Exchange) => void]>([
    ['before its headers', () => {}],
    [
      'byte by byte in its body',
      ({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const drip = setInterval(() => response.write(' '), 20);
        response.on('close', () => clearInterval(drip));
      },
    ],
  ])('a worker that stalls %s is left at the deadline, with the price reserved', async (_where, stall) => {
    house = await lab.house({ deadlineMs: 400 });
    worker.answers.paid = stall;
    const id = await house.submit(worker);
    const told = await house.untilReason(id, 'no_answer_timeout');
    expect(told).toMatchObject({ state: 'sent' });
    expect(await house.ledger(id)).toEqual(HELD);
    await lab.passWindow();
    expect(await house.end(id)).toMatchObject({ state: 'unpaid', settlement: 'unpaid' });
    await house.expectOnePayment(id, worker, PRICE_ATOMIC);
  });
});

describe('before payment', () => {
  it.each(SPOILED.filter(([what]) => !what.includes('body') || what.includes('endless')))(
    '%s in the probe is a failed probe, nothing more',
    async (_what, code, spoil) => {
      worker.answers.probe = (exchange) => spoil(Object.assign(exchange, { result: () => ({}) }));
      const error = await house.refuses(house.probe(worker));
      expect(error.code).toBe(code);
      expect(worker.payments).toEqual([]);
    },
  );

  it('terms in 16 KiB of headers and more are read and paid', async () => {
    worker.envelope = { extensions: { padding: { info: { text: 'p'.repeat(14_000) } } } };
    worker.answers.probe = (exchange) =>
      exchange.json(402, {}, { 'payment-required': encode(worker.terms()), ...headersOf(20_000) });
    const probed = await house.probe(worker);
    expect(probed).toMatchObject({ price_atomic: '50000' });
  });

  it('a worker that stalls is left at the deadline', async () => {
    house = await lab.house({ deadlineMs: 300 });
    worker.answers.probe = () => {};
    const error = await house.refuses(house.probe(worker));
    expect(error.code).toBe('timeout');
  });

  it('a worker that nobody listens for is refused, and an experiment for it costs nothing', async () => {
    const quote_id = await house.quote(worker);
    await worker.close();
    const view = await house.run(worker, { quote_id });
    expect(view).toMatchObject({ state: 'refused', reason_code: 'connect_failed' });
    expect(house.signed).toEqual([]);
    expect(await house.ledger(view.experiment_id)).toEqual({ held: 0, spent: 0, released: 0 });
  });

  it('the code is never shown to a worker before it has been paid for', async () => {
    await house.run(worker);
    const unpaid = worker.log.filter(({ payment }) => payment === null);
    expect(unpaid.some(({ method }) => method === 'POST')).toBe(true);
    for (const { body } of unpaid) expect(body).not.toContain('val_bpb');
  });
});
