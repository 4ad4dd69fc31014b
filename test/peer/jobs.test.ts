import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Exchange, encode, type HostileWorker, PRICE_ATOMIC } from './hostile-worker.ts';
import { type House, PeerLab } from './peer-lab.ts';

const SPENT = { held: 0, spent: Number(PRICE_ATOMIC), released: 0 };
const TOKEN = 'job-token-5f0e7c1d9a3b4c6e8f7d2a1b0c9e8d7f';

let lab: PeerLab;
let worker: HostileWorker;
let other: HostileWorker;
let house: House;

beforeAll(async () => {
  lab = await PeerLab.open();
});

beforeEach(async () => {
  [worker, other] = await Promise.all([lab.worker(), lab.worker()]);
  house = await lab.house();
});

afterAll(async () => {
  await lab?.close();
});

/** A broker in front of the worker: it settles at acceptance, as the field's does. */
class Broker {
  state = 'pending';
  stateStatus = 200;
  /** What the result's address answers; null: the result. */
  resultAnswer: ((exchange: Exchange) => void) | null = null;
  result: unknown = null;
  readonly #worker: HostileWorker;

  constructor(of: HostileWorker, accepted: Readonly<Record<string, unknown>> = {}) {
    this.#worker = of;
    of.answers.paid = async (exchange) => {
      const receipt = await exchange.settle();
      this.result ??= exchange.result();
      const body = {
        jobId: 'abc',
        statusUrl: '/services/w/jobs/abc',
        resultUrl: '/services/w/jobs/abc/result',
        jobToken: TOKEN,
        message: 'Job accepted; payment settled.',
        ...accepted,
      };
      exchange.json(202, body, { 'payment-response': encode(receipt) });
    };
    of.answers.other = (exchange) => this.#answer(exchange);
  }

  get asked(): string[] {
    return this.#worker.log.filter(({ path }) => path.includes('/jobs/')).map(({ path }) => path);
  }

  #answer(exchange: Exchange): void {
    const { path, headers } = exchange.seen;
    if (path === '/services/w/jobs/abc') exchange.json(this.stateStatus, { jobId: 'abc', state: this.state });
    else if (path !== '/services/w/jobs/abc/result') exchange.json(404, { error: 'not found' });
    else if (headers.authorization !== `Bearer ${TOKEN}`) exchange.json(401, { error: 'unauthorized' });
    else if (this.resultAnswer) this.resultAnswer(exchange);
    else exchange.json(200, this.result);
  }
}

/** Paid once, booked as spent; the token is nowhere but in the store. */
async function expectPaidOnce(id: string): Promise<void> {
  await house.expectOnePayment(id, worker, PRICE_ATOMIC);
  expect(worker.payments).toHaveLength(1);
  expect(await house.ledger(id)).toEqual(SPENT);
  expect(await lab.balance(worker.payTo)).toBe(PRICE_ATOMIC);
  expect(JSON.stringify(await house.view(id))).not.toContain(TOKEN);
  const records = await house.services.db.selectFrom('records').select('line').execute();
  expect(JSON.stringify(records)).not.toContain(TOKEN);
}

describe('a job', () => {
  it('is followed to its result, which is fetched with its token', async () => {
    const broker = new Broker(worker);
    const id = await house.submit(worker);
    const told = await house.until(id, ({ state }) => state === 'accepted');
    expect(told.summary).toContain('took it as a job');
    broker.state = 'running';
    await expect.poll(() => broker.asked.length).toBeGreaterThan(2);
    broker.state = 'complete';
    expect(await house.end(id)).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5 });
    const withToken = worker.log.filter(({ headers }) => headers.authorization !== undefined);
    expect(withToken.map(({ path }) => path)).toEqual(['/services/w/jobs/abc/result']);
    await expectPaidOnce(id);
    expect(await house.probe(worker)).toMatchObject({ mode: 'async' });
    const unknown = await house.probe(other);
    expect(unknown).not.toHaveProperty('mode');
    await house.run(other);
    expect(await house.probe(other)).toMatchObject({ mode: 'sync' });
  });

  it('that fails is a failed run that was paid', async () => {
    new Broker(worker).state = 'failed';
    const id = await house.submit(worker);
    const view = await house.end(id);
    expect(view).toMatchObject({ state: 'failed', settlement: 'settled', reason_code: 'job_failed' });
    await expectPaidOnce(id);
  });

  it.each([404, 410])('that its broker no longer has (%i) is honestly lost', async (status) => {
    new Broker(worker).stateStatus = status;
    const id = await house.submit(worker);
    expect(await house.end(id)).toMatchObject({ state: 'lost', settlement: 'settled', reason_code: 'job_gone' });
    await expectPaidOnce(id);
  });

  it.each([404, 410])('that is complete and whose result is gone (%i) is honestly lost', async (status) => {
    const broker = new Broker(worker);
    broker.state = 'complete';
    broker.resultAnswer = (exchange) => exchange.json(status, { error: 'gone' });
    const id = await house.submit(worker);
    expect(await house.end(id)).toMatchObject({ state: 'lost', settlement: 'settled', reason_code: 'job_gone' });
    await expectPaidOnce(id);
  });

  it('whose result is not ready yet (409 with Retry-After) is asked again', async () => {
    const broker = new Broker(worker);
    broker.state = 'complete';
    let refusals = 0;
    broker.resultAnswer = (exchange) => {
      refusals += 1;
      if (refusals === 3) broker.resultAnswer = null;
      exchange.json(409, { error: 'still running' }, { 'retry-after': '5' });
    };
    const id = await house.submit(worker);
    expect(await house.end(id)).toMatchObject({ state: 'published', val_bpb: 1.5 });
    expect(refusals).toBe(3);
    await expectPaidOnce(id);
  });

  it('with a token that its broker refuses is lost when it expires', async () => {
    new Broker(worker, { jobToken: 'another-token' }).state = 'complete';
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'accepted');
    await expect.poll(() => worker.log.some(({ headers }) => headers.authorization !== undefined)).toBe(true);
    await lab.passTime(73 * 3_600);
    expect(await house.end(id)).toMatchObject({ state: 'lost', reason_code: 'job_gone' });
    await expectPaidOnce(id);
  });

  it('that never ends is given up when it expires', async () => {
    const expiresAt = new Date(lab.nowMs() + 3_600_000).toISOString();
    new Broker(worker, { expiresAt }).state = 'running';
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'accepted');
    await lab.passTime(3_700);
    expect(await house.end(id)).toMatchObject({ state: 'lost', settlement: 'settled', reason_code: 'job_gone' });
    await expectPaidOnce(id);
  });

  it('goes on after a restart, without another payment', async () => {
    const broker = new Broker(worker);
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'accepted');
    await house.restart();
    broker.state = 'complete';
    expect(await house.end(id)).toMatchObject({ state: 'published', settlement: 'settled', attempt: 1 });
    await expectPaidOnce(id);
  });

  it('whose broker answers nonsense for a while is asked again', async () => {
    const broker = new Broker(worker);
    broker.state = 'exploded';
    const id = await house.submit(worker);
    await house.until(id, ({ state }) => state === 'accepted');
    await expect.poll(() => broker.asked.length).toBeGreaterThan(2);
    broker.state = 'complete';
    expect(await house.end(id)).toMatchObject({ state: 'published' });
    await expectPaidOnce(id);
  });

  it('whose addresses redirect to another host takes its token nowhere', async () => {
    const broker = new Broker(worker);
    broker.state = 'complete';
    broker.resultAnswer = (exchange) => exchange.text(307, '', { location: `${other.endpoint}/jobs/abc/result` });
    const id = await house.submit(worker);
    await expect.poll(async () => (await house.until(id, () => true)).state).toBe('accepted');
    await expect.poll(() => broker.asked.filter((path) => path.endsWith('/result')).length).toBeGreaterThan(1);
    await lab.passTime(73 * 3_600);
    expect(await house.end(id)).toMatchObject({ state: 'lost', reason_code: 'job_gone' });
    expect(other.log).toEqual([]);
    await expectPaidOnce(id);
  });

  it('that answers with the result of another job does not count', async () => {
    const broker = new Broker(worker);
    broker.state = 'complete';
    broker.result = { experiment_id: 'exp-20260101-0000000000000000-a1', status: 'completed', val_bpb: 0.6 };
    const id = await house.submit(worker);
    expect(await house.end(id)).toMatchObject({ verdict: 'INVALID', reason_code: 'result_foreign_experiment' });
    await expectPaidOnce(id);
  });

  it('whose token is given to two experiments gives each its own result or none', async () => {
    new Broker(worker).state = 'complete';
    const first = await house.run(worker);
    const second = await house.run(worker, { idempotency_key: 'second-job' });
    expect(first).toMatchObject({ state: 'published', val_bpb: 1.5 });
    expect(second).toMatchObject({ verdict: 'INVALID', reason_code: 'result_foreign_experiment' });
    expect(new Set(worker.nonces).size).toBe(2);
    expect(await house.ledger(second.experiment_id)).toEqual(SPENT);
  });
});

describe('a 202 with', () => {
  it.each<[string, () => Record<string, unknown>]>([
    ['a status address on another host', () => ({ statusUrl: `${other.endpoint}/jobs/abc` })],
    ['a result address on another host', () => ({ resultUrl: `${other.endpoint}/jobs/abc/result` })],
    ['a result address without a scheme', () => ({ resultUrl: `//${other.host}/jobs/abc/result` })],
    ['a result address with backslashes', () => ({ resultUrl: `\\\\${other.host}\\jobs\\abc` })],
    ['a status address in a private network', () => ({ statusUrl: 'http://169.254.169.254/latest/meta-data/' })],
    ['a result address with credentials', () => ({ resultUrl: `http://user:pass@${worker.host}/jobs/abc/result` })],
    ['a host hidden behind credentials', () => ({ statusUrl: `http://${worker.host}@${other.host}/jobs/abc` })],
    ['a result address on another port', () => ({ resultUrl: 'http://127.0.0.1:1/jobs/abc/result' })],
    ['another scheme', () => ({ statusUrl: 'file:///etc/passwd' })],
    ['an address that is none', () => ({ statusUrl: 'http://[' })],
    ['no token', () => ({ jobToken: undefined })],
    ['a token that is a number', () => ({ jobToken: 7 })],
  ])('%s is no job: nothing is asked there, and what was taken is booked', async (_what, accepted) => {
    new Broker(worker, accepted()).state = 'complete';
    const id = await house.submit(worker);
    const told = await house.untilReason(id, 'answer_unusable');
    expect(told.reason).toContain('names neither a result nor a job on its own host');
    await house.until(id, ({ settlement }) => settlement === 'settled');
    await lab.passWindow();
    expect(await house.end(id)).toMatchObject({ state: 'lost', settlement: 'settled', reason_code: 'result_lost' });
    expect(other.log).toEqual([]);
    expect(worker.log.every(({ headers }) => headers.authorization === undefined)).toBe(true);
    await expectPaidOnce(id);
  });

  it('path tricks stays on the worker, and the token goes to that very address only', async () => {
    new Broker(worker, { resultUrl: '/services/../../services/w/jobs/./abc/result' }).state = 'complete';
    const id = await house.submit(worker);
    expect(await house.end(id)).toMatchObject({ state: 'published', val_bpb: 1.5 });
    await expectPaidOnce(id);
  });

  it('a token that would split a header sends no such header', async () => {
    new Broker(worker, { jobToken: 'a\r\nX-Injected: 1' }).state = 'complete';
    const id = await house.submit(worker);
    await house.until(id, ({ state, settlement }) => state === 'accepted' || settlement === 'settled');
    await lab.passTime(73 * 3_600);
    expect(await house.end(id)).toMatchObject({ state: 'lost', settlement: 'settled' });
    expect(worker.log.every(({ headers }) => headers['x-injected'] === undefined)).toBe(true);
    await expectPaidOnce(id);
  });

  it('no acceptance behind it is unpaid in the end', async () => {
    worker.answers.paid = (exchange) => exchange.json(202, { message: 'later' });
    const view = await house.runOut(worker, 'answer_unusable');
    expect(view).toMatchObject({ state: 'unpaid', settlement: 'unpaid' });
    expect(await house.ledger(view.experiment_id)).toEqual({ held: 0, spent: 0, released: Number(PRICE_ATOMIC) });
  });
});
