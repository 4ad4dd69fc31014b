import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ExperimentView } from '../../src/coordinator/experiment-view.ts';
import { freeze } from '../../src/payment/freeze.ts';
import { readPayerKey } from '../localnet-client.ts';
import { type Exchange, type HostileWorker, PRICE_ATOMIC } from './hostile-worker.ts';
import { type House, PeerLab } from './peer-lab.ts';
import { CuttingBroker } from './sign-in-gate.ts';
import { SignerStandIn } from './signer-stand-in.ts';

const SPENT = { held: 0, spent: Number(PRICE_ATOMIC), released: 0 };
const LIST = '/services/w/jobs';
/** What the search for one job asks at most: looks, and signed requests. */
const MAX_LOOKS = 8;
const MAX_SIGN_INS = 40;

let lab: PeerLab;
let worker: HostileWorker;
let other: HostileWorker;
let house: House;
/** When the test began, Unix milliseconds of the lab: what a broker tells may be asked for after time has passed. */
let startedAtMs: number;

beforeAll(async () => {
  lab = await PeerLab.open();
});

beforeEach(async () => {
  [worker, other] = await Promise.all([lab.worker(), lab.worker()]);
  house = await lab.house();
  startedAtMs = lab.nowMs();
});

afterAll(async () => {
  await lab?.close();
});

function openBroker(): CuttingBroker {
  return new CuttingBroker(worker, lab.network.payer, () => lab.nowMs());
}

/** Every request with a wallet sign-in. */
function signIns(of: HostileWorker) {
  return of.log.filter(({ headers }) => headers.authorization?.startsWith('SIWX '));
}

/** Paid once, booked as spent; no sign-in is anywhere but in the requests, and the other host saw none. */
async function expectPaidOnce(id: string): Promise<void> {
  expect(new Set(worker.payments).size).toBe(1);
  expect(await house.ledger(id)).toEqual(SPENT);
  expect(await lab.balance(worker.payTo)).toBe(PRICE_ATOMIC);
  expect(other.log).toEqual([]);
  await expectSecret(id);
}

async function expectSecret(id: string): Promise<void> {
  const { db } = house.services;
  const records = await db.selectFrom('records').selectAll().execute();
  const stored = await sql<{ body: Uint8Array }>`select body from replies`.execute(db);
  const rows = [
    await db.selectFrom('experiments').selectAll().execute(),
    await db.selectFrom('jobs').selectAll().execute(),
  ];
  const bodies = stored.rows.map(({ body }) => Buffer.from(body).toString('latin1'));
  const shown = [JSON.stringify([await house.view(id), records, rows]), ...bodies].join('\n');
  for (const { headers } of signIns(worker)) {
    const [message = '', proof = ''] = (headers.authorization ?? '').replace('SIWX ', '').split('.');
    const signature = Buffer.from(proof, 'base64').toString('utf8').slice(2);
    for (const secret of [message, proof, signature]) {
      expect(secret.length).toBeGreaterThan(100);
      expect(shown).not.toContain(secret);
    }
  }
}

/**
 * Works until the search has asked for what it will ask for, then lets the time of the payment pass: what is not found by
 * then is lost.
 */
async function loseAfterSearch(id: string, hasAsked = () => signIns(worker).length > 0): Promise<ExperimentView> {
  await house.until(id, hasAsked);
  await lab.passWindow();
  return house.end(id);
}

function countOpened(): number {
  return signIns(worker).filter(({ path }) => path.endsWith('/result')).length;
}

const hasOpened = () => countOpened() > 0;

describe('a job whose 202 was cut off after the settlement', () => {
  it('is found and opened with the key that paid', async () => {
    const broker = openBroker();
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5, attempt: 1 });
    expect(broker.gate.refused).toEqual([]);
    const asked = worker.log.filter(({ path }) => path.startsWith(LIST));
    expect(asked.map(({ path, headers }) => [path, headers.authorization !== undefined])).toEqual([
      [LIST, false],
      [LIST, true],
      [`${LIST}/${broker.jobs[0]?.jobId}/result`, true],
    ]);
    await house.expectOnePayment(view.experiment_id, worker, PRICE_ATOMIC);
    await expectPaidOnce(view.experiment_id);
  });

  it('is found and opened through the remote signer', async () => {
    const broker = openBroker();
    const signer = await SignerStandIn.start(readPayerKey(lab.network));
    house = await lab.house({ isWalletFromEnv: true, env: { REMOTE_SIGNER_URL: signer.url } });
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5 });
    expect(broker.gate.accepted).toHaveLength(2);
    expect(signer.texts).toHaveLength(2);
    for (const text of signer.texts)
      expect(text.split('\n')[0]).toBe(`${worker.host} wants you to sign in with your Ethereum account:`);
    expect(signer.nonces).toHaveLength(1);
    for (const { path } of signer.log) expect(path).toMatch(/\/(keys|typed-data|message)$/);
    await expectPaidOnce(view.experiment_id);
    await signer.close();
  });

  it('is found through a signer that is away at first', async () => {
    openBroker();
    const signer = await SignerStandIn.start(readPayerKey(lab.network));
    let failures = 0;
    signer.onSign = (signature, { path }) => {
      if (!path.endsWith('/message') || failures === 4) return { body: { signature } };
      failures += 1;
      return { status: 503, body: { error: 'away' } };
    };
    house = await lab.house({ isWalletFromEnv: true, env: { REMOTE_SIGNER_URL: signer.url } });
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'published', val_bpb: 1.5 });
    await expectPaidOnce(view.experiment_id);
    await signer.close();
  });

  it('is followed while it runs, over a restart, as any other job', async () => {
    const broker = openBroker();
    broker.state = 'running';
    const id = await house.submit(worker);
    const told = await house.until(id, ({ state }) => state === 'accepted');
    expect(told.summary).toContain('took it as a job');
    await house.restart();
    const [job] = broker.jobs;
    if (!job) throw new Error('there is no job');
    const polled = () => worker.log.filter(({ path }) => path === `${LIST}/${job.jobId}`);
    const before = polled().length;
    await house.until(id, () => polled().length > before);
    expect(polled().every(({ headers }) => headers.authorization === undefined)).toBe(true);
    job.state = 'complete';
    expect(await house.end(id)).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5 });
    expect(broker.gate.refused).toEqual([]);
    await expectPaidOnce(id);
  });

  it('is found while spending is frozen: nothing is spent by it', async () => {
    const broker = openBroker();
    broker.onList = (exchange) => exchange.json(503, {});
    const id = await house.submit(worker);
    await house.until(id, ({ settlement }) => settlement === 'settled');
    await freeze(house.services.db, new Date().toISOString());
    broker.onList = null;
    expect(await house.end(id)).toMatchObject({ state: 'published', val_bpb: 1.5 });
    await expectPaidOnce(id);
  });

  it('is found without a chain that could be asked', async () => {
    const broker = openBroker();
    house = await lab.house({ env: { ERPC_URL: 'http://127.0.0.1:1' } });
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'judged');
    expect(broker.gate.accepted).toHaveLength(2);
    expect(new Set(worker.payments).size).toBe(1);
    await lab.passWindow();
    expect(await house.end(id)).toMatchObject({ state: 'published', settlement: 'unknown', val_bpb: 1.5 });
    expect(await house.ledger(id)).toEqual({ held: Number(PRICE_ATOMIC), spent: 0, released: 0 });
    await expectSecret(id);
  });

  it('is found for an attempt that its experiment has moved on from', async () => {
    const broker = openBroker();
    broker.state = 'running';
    broker.onList = (exchange) => exchange.json(503, {});
    const id = await house.submit(worker);
    await house.until(id, ({ settlement }) => settlement === 'settled');
    // As an overlap leaves it that finds no other worker.
    await house.services.db.updateTable('experiments').set({ state: 'claimed' }).execute();
    broker.onList = null;
    await house.until(id, ({ state }) => state === 'accepted');
    for (const job of broker.jobs) job.state = 'complete';
    expect(await house.end(id)).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5, attempt: 1 });
    await expectPaidOnce(id);
  });

  it('and that failed is a failed run that was paid', async () => {
    openBroker().state = 'failed';
    const view = await house.run(worker);
    expect(view).toMatchObject({ state: 'failed', settlement: 'settled', reason_code: 'job_failed' });
    await expectPaidOnce(view.experiment_id);
  });

  it('and that fails while it is followed is one, too', async () => {
    const broker = openBroker();
    broker.state = 'running';
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'accepted');
    for (const job of broker.jobs) job.state = 'failed';
    expect(await house.end(id)).toMatchObject({ state: 'failed', settlement: 'settled', reason_code: 'job_failed' });
    await expectPaidOnce(id);
  });
});

describe('among other jobs of the same wallet', () => {
  const foreign = {
    experiment_id: 'exp-20260101-0000000000000000-a1',
    status: 'completed',
    return_code: 0,
    val_bpb: 0.6,
  };

  it('each of two experiments finds its own', async () => {
    openBroker();
    const first = await house.run(worker);
    const second = await house.run(worker, { idempotency_key: 'second-job' });
    for (const view of [first, second])
      expect(view).toMatchObject({ state: 'published', val_bpb: 1.5, settlement: 'settled' });
    expect(new Set(worker.nonces).size).toBe(2);
    await expectSecret(second.experiment_id);
  });

  it('those of another coordinator are passed over', async () => {
    const broker = openBroker();
    const id = await house.submit(worker);
    broker.onList = (exchange) => exchange.json(503, {});
    await house.until(id, ({ settlement }) => settlement === 'settled');
    for (let count = 0; count < 3; count += 1) broker.add({ result: foreign });
    broker.onList = null;
    expect(await house.end(id)).toMatchObject({ state: 'published', val_bpb: 1.5 });
    await expectPaidOnce(id);
  });

  it('one that was followed and is not ours gives way to the next', async () => {
    const broker = openBroker();
    broker.onList = (exchange) => exchange.json(503, {});
    const id = await house.submit(worker);
    await house.until(id, ({ settlement }) => settlement === 'settled');
    const [own] = broker.jobs;
    const [newer, failed] = [broker.add({ state: 'running', result: foreign }), broker.add({ state: 'failed' })];
    if (!own) throw new Error('there is no job');
    own.state = 'pending';
    broker.onList = null;
    await house.until(id, ({ state }) => state === 'accepted');
    newer.state = 'complete';
    await house.until(id, () => worker.log.some(({ path }) => path === `${LIST}/${own.jobId}`));
    own.state = 'complete';
    expect(await house.end(id)).toMatchObject({ state: 'published', val_bpb: 1.5 });
    expect(worker.log.filter(({ path }) => path.includes(failed.jobId))).toEqual([]);
    await expectPaidOnce(id);
  });

  it('one that a 202 gave to another experiment is not even opened', async () => {
    const broker = openBroker();
    broker.isCut = false;
    expect(await house.run(worker)).toMatchObject({ state: 'published' });
    broker.isCut = true;
    broker.onList = (exchange) => exchange.json(503, {});
    const id = await house.submit(worker, { idempotency_key: 'second-job' });
    await house.until(id, ({ settlement }) => settlement === 'settled');
    // The known one is the newest now: without what we know it would be opened first.
    const [known, own] = broker.jobs;
    if (!known || !own) throw new Error('a job is missing');
    broker.jobs.push({ ...known, createdAt: new Date(Date.parse(own.createdAt) + 5_000).toISOString() });
    broker.jobs.shift();
    broker.onList = null;
    expect(await house.end(id)).toMatchObject({ state: 'published', val_bpb: 1.5 });
    expect(new Set(signIns(worker).map(({ path }) => path))).toEqual(new Set([LIST, `${LIST}/${own.jobId}/result`]));
  });

  it('only foreign ones leave it honestly lost, after a handful', async () => {
    const broker = openBroker();
    broker.onList = (exchange) => exchange.json(503, {});
    const id = await house.submit(worker);
    await house.until(id, ({ settlement }) => settlement === 'settled');
    broker.jobs.length = 0;
    for (let count = 0; count < 50; count += 1) broker.add({ result: foreign });
    broker.onList = null;
    expect(await loseAfterSearch(id, () => countOpened() === 5)).toMatchObject({
      state: 'lost',
      settlement: 'settled',
      reason_code: 'result_lost',
    });
    expect(countOpened()).toBe(5);
    await expectPaidOnce(id);
  });
});

describe('a broker is not believed', () => {
  it.each<[string, Record<string, unknown>]>([
    ['names another experiment', { experiment_id: 'exp-20260101-0000000000000000-a1' }],
    ['names no experiment', { experiment_id: undefined }],
    ['names another program', { train_hash: `sha256:${'0'.repeat(64)}` }],
  ])('when the only result %s', async (_what, change) => {
    const broker = openBroker();
    broker.onResult = (exchange, job) => exchange.json(200, { ...Object(job.result), ...change });
    const id = await house.submit(worker);
    expect(await loseAfterSearch(id, hasOpened)).toMatchObject({
      state: 'lost',
      settlement: 'settled',
      reason_code: 'result_lost',
    });
    await expectPaidOnce(id);
  });

  it("when it lists another customer's job, which never opens for us", async () => {
    const broker = openBroker();
    broker.onResult = (exchange) => exchange.json(401, { error: 'Not your job' });
    const id = await house.submit(worker);
    expect(await loseAfterSearch(id, hasOpened)).toMatchObject({ state: 'lost', reason_code: 'result_lost' });
    expect(countOpened()).toBe(1);
    await expectPaidOnce(id);
  });

  it('when its result repeats our sign-in', async () => {
    const broker = openBroker();
    broker.onResult = (exchange, job) =>
      exchange.json(200, { ...Object(job.result), note: exchange.seen.headers.authorization });
    const id = await house.submit(worker);
    expect(await loseAfterSearch(id, hasOpened)).toMatchObject({ state: 'lost', settlement: 'settled' });
    await expectPaidOnce(id);
  });

  const job = (change: Record<string, unknown> = {}) => ({
    jobId: 'a'.repeat(32),
    state: 'complete',
    path: '/experiment',
    createdAt: new Date(startedAtMs).toISOString(),
    ...change,
  });
  const listOf = (jobs: unknown) => (exchange: Exchange) => exchange.json(200, { wallet: lab.network.payer, jobs });

  it.each<[string, (exchange: Exchange) => void, string[]]>([
    ['10,000 jobs', (exchange) => listOf(Array.from({ length: 10_000 }, () => job()))(exchange), []],
    [
      '100 bytes of each of 3,000 rows',
      (exchange) => listOf(Array.from({ length: 3_000 }, () => 'x'.repeat(50)))(exchange),
      [],
    ],
    ['no list', (exchange) => listOf('all of them')(exchange), []],
    [
      'rows of wrong shapes',
      (exchange) =>
        listOf([
          null,
          7,
          [],
          {},
          { jobId: 1 },
          job({ state: 'exploded' }),
          job({ createdAt: 'now' }),
          job({ path: null }),
        ])(exchange),
      [],
    ],
    ['another wallet', (exchange) => exchange.json(200, { wallet: worker.payTo, jobs: [job()] }), []],
    ['no wallet', (exchange) => exchange.json(200, { jobs: [job()] }), []],
    [
      'jobs of before',
      (exchange) => listOf([job({ createdAt: new Date(startedAtMs - 10_000_000).toISOString() })])(exchange),
      [],
    ],
    [
      'jobs of the future',
      (exchange) => listOf([job({ createdAt: new Date(startedAtMs + 10_000_000).toISOString() })])(exchange),
      [],
    ],
    ['jobs of another path', (exchange) => listOf([job({ path: '/train' })])(exchange), []],
    [
      'ids that climb',
      (exchange) => listOf([job({ jobId: '../../admin' }), job({ jobId: '..%2f..' }), job({ jobId: '..' })])(exchange),
      [],
    ],
    [
      'ids that name a host',
      (exchange) =>
        listOf([
          job({ jobId: `//${other.host}/` }),
          job({ jobId: `http://${other.host}` }),
          job({ jobId: `@${other.host}` }),
        ])(exchange),
      [],
    ],
    [
      'ids that split a header',
      (exchange) => listOf([job({ jobId: 'a\r\nX-Injected: 1' }), job({ jobId: `${'a'.repeat(200)}` })])(exchange),
      [],
    ],
    [
      'addresses of its own',
      (exchange) => listOf([job({ resultUrl: `${other.endpoint}/x`, statusUrl: `${other.endpoint}/y` })])(exchange),
      [`${LIST}/${'a'.repeat(32)}/result`],
    ],
    ['HTML', (exchange) => exchange.text(200, '<html>'), []],
    ['deep nesting', (exchange) => exchange.text(200, '['.repeat(100_000)), []],
    ['a redirect', (exchange) => exchange.text(307, '', { location: `${other.endpoint}/jobs` }), []],
    ['a cut', (exchange) => exchange.reset(), []],
  ])('when its list has %s', async (_what, answer, opened) => {
    const broker = openBroker();
    broker.onList = (exchange, wallet) => (wallet === null ? exchange.json(401, {}) : answer(exchange));
    const id = await house.submit(worker);
    expect(await loseAfterSearch(id, opened.length > 0 ? hasOpened : undefined)).toMatchObject({
      state: 'lost',
      settlement: 'settled',
      reason_code: 'result_lost',
    });
    const asked = worker.log.filter(({ path }) => !/\/(experiment|health|status|experiments\/.*)$/.test(path));
    expect([...new Set(asked.map(({ path }) => path))].sort()).toEqual([LIST, ...opened].sort());
    expect(signIns(worker).length).toBeGreaterThan(0);
    expect(signIns(worker).length).toBeLessThanOrEqual(MAX_LOOKS + opened.length * MAX_SIGN_INS);
    expect(new Set(signIns(worker).map(({ headers }) => headers.authorization)).size).toBe(signIns(worker).length);
    expect(worker.log.every(({ headers }) => headers['x-injected'] === undefined)).toBe(true);
    await expectPaidOnce(id);
  });

  it('when its jobs run for ever', async () => {
    const broker = openBroker();
    broker.state = 'running';
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'accepted');
    await lab.passTime(73 * 3_600);
    expect(await house.end(id)).toMatchObject({ state: 'lost', settlement: 'settled', reason_code: 'result_lost' });
    await expectPaidOnce(id);
  });

  it('when it says "complete" and never opens', async () => {
    const broker = openBroker();
    broker.onResult = (exchange) => exchange.json(409, {}, { 'retry-after': '5' });
    const id = await house.submit(worker);
    expect(await loseAfterSearch(id, hasOpened)).toMatchObject({ state: 'lost', reason_code: 'result_lost' });
    expect(signIns(worker).length).toBeLessThanOrEqual(MAX_SIGN_INS);
    await expectPaidOnce(id);
  });
});

describe('a worker', () => {
  it.each([402, 403, 404, 501])('without a list (HTTP %i) is asked for it once, without a sign-in', async (status) => {
    const broker = openBroker();
    broker.onList = (exchange) => exchange.json(status, {});
    const id = await house.submit(worker);
    expect(await loseAfterSearch(id, () => worker.log.some(({ path }) => path === LIST))).toMatchObject({
      state: 'lost',
      settlement: 'settled',
      reason_code: 'result_lost',
    });
    expect(signIns(worker)).toEqual([]);
    if (status < 500) expect(worker.log.filter(({ path }) => path === LIST)).toHaveLength(1);
    await expectPaidOnce(id);
  });

  it('that refuses our sign-in gets one', async () => {
    const broker = openBroker();
    broker.onList = (exchange) => exchange.json(401, { error: 'authentication_required' });
    const id = await house.submit(worker);
    expect(await loseAfterSearch(id)).toMatchObject({ state: 'lost', reason_code: 'result_lost' });
    expect(signIns(worker)).toHaveLength(1);
    await expectPaidOnce(id);
  });

  it('that was not paid is not asked for jobs', async () => {
    const broker = openBroker();
    worker.answers.paid = (exchange) => exchange.reset();
    const view = await house.runOut(worker, 'no_answer_connection_lost');
    expect(view).toMatchObject({ state: 'unpaid', settlement: 'unpaid' });
    expect(worker.log.filter(({ path }) => path === LIST)).toEqual([]);
    expect(broker.jobs).toEqual([]);
  });
});
