import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { privateKeyToAccount } from 'viem/accounts';
import { describe, expect, it, onTestFinished } from 'vitest';
import * as z from 'zod';
import { openStore } from '../../test/store-seed.ts';
import { findChain } from '../base/chains.ts';
import { silentLog } from '../base/log.ts';
import { atomicUsdc } from '../base/money.ts';
import { HttpClient } from '../net/http.ts';
import { loadAttempts } from '../payment/attempt.ts';
import { sumLedger } from '../payment/budget.ts';
import { ChainReader } from '../payment/chain.ts';
import { PaymentDesk } from '../payment/desk.ts';
import type { Db } from '../store/database.ts';
import { WorkerClient } from '../worker/client.ts';
import type { DriverPorts } from './drive.ts';
import { ExperimentEngine } from './engine.ts';
import { loadExperiment, NO_CONSENT } from './experiment.ts';
import { draftExperiment } from './journal.ts';
import { createVariant } from './variant.ts';

// Public development account 1 of anvil: test chains only.
const account = privateKeyToAccount('0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d');
const Submission = z.looseObject({ probe: z.boolean().optional(), experiment_id: z.string().optional() });
const Call = z.object({ id: z.number(), method: z.string(), params: z.array(z.unknown()) });
const EthCall = z.looseObject({ data: z.string() });

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(z.instanceof(Uint8Array).parse(chunk));
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? {} : JSON.parse(text);
}

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>): Promise<string> {
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => response.destroy(z.instanceof(Error).parse(error)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${z.object({ port: z.number() }).parse(server.address()).port}`;
}

type Answer = 'reset' | { readonly status: number; readonly body?: unknown; readonly headers?: Record<string, string> };

interface FakeWorker {
  readonly endpoint: string;
  /** Payment headers that it was sent, in order. */
  readonly payments: string[];
  /** Ids that it was sent. */
  readonly ids: string[];
  /** What it answers to the n-th paid submission; the last answer stands for all after it. */
  paid: Answer[];
  /** What it answers when asked for a result. By default every route has its price, as behind a gate. */
  stored: (id: string) => Answer;
  terms: (offer: Record<string, unknown>) => unknown;
}

async function startWorker(amount: string): Promise<FakeWorker> {
  const reply = (response: ServerResponse, answer: Answer) => {
    if (answer === 'reset') return response.socket?.resetAndDestroy();
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
    return response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? {}));
  };
  const endpoint = await serve(async (request, response) => {
    const body = Submission.parse(await readBody(request));
    const header = request.headers['payment-signature'];
    if (request.method === 'GET') {
      const id = /^\/experiments\/(.+)$/.exec(request.url ?? '')?.[1];
      reply(response, id === undefined ? { status: 402 } : worker.stored(id));
      return;
    }
    if (typeof header !== 'string') {
      const offer = {
        scheme: 'exact',
        network: 'eip155:84532',
        amount,
        asset: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
        payTo: '0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC',
        maxTimeoutSeconds: 900,
        extra: { name: 'USDC', version: '2' },
      };
      const terms = JSON.stringify(worker.terms(offer)).replaceAll('"1e400"', '1e400');
      reply(response, { status: 402, headers: { 'payment-required': Buffer.from(terms).toString('base64') } });
      return;
    }
    worker.payments.push(header);
    worker.ids.push(body.experiment_id ?? '');
    reply(response, worker.paid[Math.min(worker.payments.length, worker.paid.length) - 1] ?? { status: 500 });
  });
  const worker: FakeWorker = {
    endpoint,
    payments: [],
    ids: [],
    paid: [],
    stored: () => ({ status: 402 }),
    terms: (offer) => ({ x402Version: 2, resource: { url: endpoint }, accepts: [offer] }),
  };
  return worker;
}

/** A chain on which nobody ever settles anything; its time is ours. */
async function startChain(clock: { nowMs(): number }): Promise<ChainReader> {
  const answer = (method: string, params: readonly unknown[]): unknown => {
    const time = `0x${Math.floor(clock.nowMs() / 1_000).toString(16)}`;
    switch (method) {
      case 'eth_chainId':
        return '0x14a34';
      case 'eth_blockNumber':
        return '0x64';
      case 'eth_getBlockByNumber':
        return { number: '0x64', timestamp: time, transactions: [] };
      case 'eth_getCode':
        return '0x';
      case 'eth_getLogs':
        return [];
      default:
        // balanceOf is a fortune, authorizationState is false.
        return EthCall.parse(params[0]).data.startsWith('0x70a08231')
          ? `0x${(10n ** 12n).toString(16).padStart(64, '0')}`
          : `0x${'0'.repeat(64)}`;
    }
  };
  const url = await serve(async (request, response) => {
    const { id, method, params } = Call.parse(await readBody(request));
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result: answer(method, params) }));
  });
  return new ChainReader(findChain('base-sepolia') ?? expect.unreachable(), url);
}

/** A store, a chain, workers and an engine that drives one experiment on them. */
async function createLab(workers: readonly FakeWorker[]) {
  const db = await openStore();
  const clock = { offsetMs: 0, nowMs: () => Date.now() + clock.offsetMs };
  const chain = await startChain(clock);
  const http = new HttpClient({ allowHttpHosts: ['127.0.0.1'], userAgent: 'test' });
  const caps = { perExperimentAtomic: atomicUsdc(250_000), rollingDayAtomic: atomicUsdc(5_000_000) };
  const signed: string[] = [];
  const desk = new PaymentDesk({
    db,
    wallet: {
      kind: 'key file',
      open: async () => ({
        address: account.address,
        signTransfer: (data) => {
          signed.push(data.message.nonce);
          return account.signTypedData(data);
        },
        signText: (text) => account.signMessage({ message: text }),
        signFeedback: () => expect.unreachable('nothing here gives feedback'),
      }),
    },
    caps,
    maxValiditySeconds: 1_800,
    openChain: async () => chain,
    masterSecret: 'ab'.repeat(32),
    clock,
  });
  const ports: DriverPorts = {
    db,
    clock,
    log: silentLog,
    worker: new WorkerClient(http),
    desk,
    maxOverlap: 2,
    patience: { pollMs: 5, busyMs: 30, queueMs: 60_000, lostMs: 60_000 },
    chooseWorker: async ({ avoid }) => {
      const free = workers.find(({ endpoint }) => (avoid[endpoint] ?? 0) < clock.nowMs());
      return free ? { kind: 'worker', endpoint: free.endpoint, workerId: null, choice: 'test' } : { kind: 'wait' };
    },
    judge: async () => ({
      judgement: { verdict: 'BASELINE', because: 'test', championId: null, delta: null, sigma: null, z: null },
      enact: async () => {},
    }),
    capsOf: async () => caps,
  };
  const variant = createVariant({ source: 'print("val_bpb: 1.0")\n', base: null, edits: [], config: {} });
  const draft = {
    variant,
    subject: variant.variantHash,
    workerRequest: 'auto',
    quoteId: null,
    maxPriceAtomic: caps.perExperimentAtomic,
    consent: NO_CONSENT,
    idempotencyKey: null,
    hypothesis: null,
    agent: null,
    loop: null,
  };
  const { experiment } = await draftExperiment(db, draft, clock.nowMs());
  const engine = new ExperimentEngine(ports, 'test');
  await engine.tick();
  onTestFinished(async () => {
    await engine.stop();
    await http.close();
  });
  return { db, clock, signed, variant, experimentId: experiment.experimentId };
}

/** Waits for something that the engine brings about; the test's own limit ends a wait for nothing. */
async function until(isDone: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await isDone())) await new Promise((resolve) => setTimeout(resolve, 5));
}

const stateOf = async (db: Db, id: string) => (await loadExperiment(db, id))?.state;
const busy: Answer = { status: 409, body: { error: 'worker is already running an experiment', status: 'busy' } };

describe('an experiment whose worker answers "busy"', () => {
  it('is sent again with the same header, and goes elsewhere beside it after a while, all of it reserved', async () => {
    const [first, second] = await Promise.all([startWorker('50000'), startWorker('60000')]);
    first.paid = [busy];
    second.paid = [busy];
    const { db, experimentId, signed } = await createLab([first, second]);
    await until(() => second.payments.length >= 2);
    expect(first.payments.length).toBeGreaterThan(0);
    for (const worker of [first, second]) expect(new Set(worker.payments).size).toBe(1);
    expect(first.payments[0]).not.toBe(second.payments[0]);
    expect((await sumLedger(db, Date.now())).heldAtomic).toBe(110_000n);
    // Two may be live, and no third is signed.
    expect(new Set(signed).size).toBe(2);
    expect(await loadAttempts(db, experimentId)).toHaveLength(2);
  });

  it.each<[string, Answer]>([
    ['broke off', 'reset'],
    ['timed out at a proxy', { status: 524, body: '<html>' }],
    ['could not settle', { status: 503, body: { reason: 'settlement_failed' } }],
  ])('after a send that %s is paid nowhere else before the payment is proven dead', async (_name, ambiguous) => {
    const [first, second] = await Promise.all([startWorker('50000'), startWorker('50000')]);
    first.paid = [ambiguous, busy];
    second.paid = [busy];
    const { db, clock, experimentId, signed } = await createLab([first, second]);
    // The worker may be busy with this very run: it is asked again and again, far beyond its patience.
    await until(() => first.payments.length >= 12);
    expect(new Set(first.payments).size).toBe(1);
    expect(second.payments).toEqual([]);
    expect(signed).toHaveLength(1);
    clock.offsetMs = 1_000_000;
    await until(() => second.payments.length > 0);
    const [before] = await loadAttempts(db, experimentId);
    expect(before?.state).toBe('unpaid');
    expect((await sumLedger(db, clock.nowMs())).heldAtomic).toBe(50_000n);
  });
});

describe('an experiment that got no answer', () => {
  it('takes a result only when the run is over', async () => {
    const worker = await startWorker('50000');
    worker.paid = ['reset'];
    let asked = 0;
    worker.stored = (id) => {
      asked += 1;
      const body = asked < 5 ? { status: 'running', experiment_id: id } : { ...result, experiment_id: id };
      return { status: 200, body };
    };
    const result = { status: 'completed', return_code: 0, val_bpb: 1.0, train_hash: '' };
    const { db, experimentId, variant } = await createLab([worker]);
    result.train_hash = variant.trainHash;
    await until(async () => (await stateOf(db, experimentId)) === 'judged');
    expect((await loadExperiment(db, experimentId))?.valBpb).toBe(1);
    // A run that is going on is not sent again.
    expect(worker.payments).toHaveLength(1);
  });

  it('does not wait for ever for a worker that says it is still running', async () => {
    const worker = await startWorker('50000');
    worker.paid = ['reset'];
    worker.stored = (id) => ({ status: 200, body: { status: 'running', experiment_id: id } });
    const { db, clock, experimentId } = await createLab([worker]);
    await until(async () => (await stateOf(db, experimentId)) === 'sent');
    clock.offsetMs = 1_000_000;
    await until(async () => (await loadAttempts(db, experimentId))[0]?.state === 'unpaid');
    expect((await sumLedger(db, clock.nowMs())).heldAtomic).toBe(0n);
  });
});

describe('an experiment that meets a hostile offer', () => {
  it.each<[string, FakeWorker['terms']]>([
    ['cannot be echoed', (offer) => ({ x402Version: 2, accepts: [{ ...offer, odd: '1e400' }] })],
    ['comes in terms that cannot be echoed', (offer) => ({ x402Version: 2, accepts: [offer], odd: '1e400' })],
    ['has a window of a second', (offer) => ({ x402Version: 2, accepts: [{ ...offer, maxTimeoutSeconds: 1 }] })],
    ['is above every cap', (offer) => ({ x402Version: 2, accepts: [{ ...offer, amount: '9007199254740991' }] })],
  ])('that %s goes to another worker, and nothing is signed for the first', async (_name, terms) => {
    const [hostile, honest] = await Promise.all([startWorker('50000'), startWorker('50000')]);
    hostile.terms = terms;
    honest.paid = [busy];
    const { signed } = await createLab([hostile, honest]);
    await until(() => honest.payments.length > 0);
    expect(hostile.payments).toEqual([]);
    expect(signed).toHaveLength(1);
  });
});
