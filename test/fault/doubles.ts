import { randomBytes } from 'node:crypto';
import { HTTPFacilitatorClient, x402ResourceServer } from '@x402/core/server';
import { registerExactEvmScheme } from '@x402/evm/exact/server';
import { paymentMiddleware } from '@x402/express';
import express, { type Express, type RequestHandler } from 'express';
import { type Hex, isHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import * as z from 'zod';
import { sha256 } from '../../src/base/hash.ts';
import { isoTime, sleep } from '../../src/base/time.ts';
import { canonicalAddresses } from '../../src/localnet/contracts.ts';
import { listen } from '../../src/localnet/listen.ts';
import { parseSubmission, type Submission } from '../../src/localnet/submission.ts';

const NETWORK = 'eip155:84532';

export interface Double {
  readonly endpoint: string;
  close(): Promise<void>;
}

interface DoubleOptions {
  readonly facilitatorUrl: string;
  readonly payTo: Hex;
  /** Atomic USDC per experiment. */
  readonly priceAtomic: bigint;
  /** How long a run takes. */
  readonly workMs: number;
}

type Run = Extract<Submission, { kind: 'run' }>;
type Result = Awaited<ReturnType<typeof train>>;

/** What a worker does with a program that prints its score. */
async function train({ trainPy, config, experimentId }: Run, workMs: number) {
  const startedAt = isoTime(Date.now());
  await sleep(workMs);
  return {
    experiment_id: experimentId,
    status: 'completed',
    return_code: 0,
    val_bpb: Number(/val_bpb: (\d\.\d+)/.exec(trainPy)?.[1]),
    train_hash: sha256(trainPy),
    startedAt,
    finishedAt: isoTime(Date.now()),
    durationSeconds: workMs / 1_000,
    config,
  };
}

/** Runs of one worker, and the free routes that tell of them. */
class Runs {
  readonly #workMs: number;
  readonly #results = new Map<string, Promise<Result>>();
  readonly #finished = new Map<string, Result>();

  constructor(workMs: number) {
    this.#workMs = workMs;
  }

  /** Runs an experiment, or joins the run of the same id. */
  run(run: Run): Promise<Result> {
    const known = this.#results.get(run.experimentId);
    if (known) return known;
    const result = train(run, this.#workMs).then((done) => {
      this.#finished.set(run.experimentId, done);
      return done;
    });
    this.#results.set(run.experimentId, result);
    return result;
  }

  serve(app: Express): void {
    app.get('/health', (_request, response) => void response.json({ status: 'ok', busy: false, timeoutSeconds: 60 }));
    app.get('/status', (_request, response) => {
      const current = [...this.#results.keys()].find((id) => !this.#finished.has(id));
      response.json({ status: current ? 'busy' : 'idle', current: current ? { experiment_id: current } : null });
    });
    app.get('/experiments/:id', (request, response) => {
      const result = this.#finished.get(request.params.id);
      if (result) response.json(result);
      else response.status(404).json({ error: 'not found' });
    });
  }
}

function createGate({ facilitatorUrl, payTo, priceAtomic }: DoubleOptions, flow: object): RequestHandler {
  const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitatorUrl }));
  registerExactEvmScheme(server, { networks: [NETWORK] });
  const price = {
    asset: canonicalAddresses.token,
    amount: priceAtomic.toString(),
    extra: { name: 'USDC', version: '2', ...flow },
  };
  return paymentMiddleware(
    { accepts: { scheme: 'exact', network: NETWORK, payTo, maxTimeoutSeconds: 600, price }, description: 'double' },
    server,
  );
}

function readRun(body: unknown): Run | null {
  const submission = parseSubmission(Buffer.isBuffer(body) ? body : Buffer.alloc(0), new Date());
  return submission.kind === 'run' ? submission : null;
}

async function serve(name: string, app: Express): Promise<Double> {
  const { origin, close } = await listen(name, app);
  return { endpoint: origin, close };
}

const rawBody = express.raw({ type: () => true, limit: '1mb' });

/** A worker that is paid before it works and says so in its offer. */
export function startUpfrontWorker(options: DoubleOptions): Promise<Double> {
  const runs = new Runs(options.workMs);
  const app = express();
  runs.serve(app);
  // The body first: a worker that takes the money and only then finds its client gone would not have the program.
  app.post('/experiment', rawBody, createGate(options, { paymentFlow: 'upfront' }), async (request, response) => {
    const run = readRun(request.body);
    if (run) response.json(await runs.run(run));
    else response.status(400).json({ error: 'no experiment' });
  });
  return serve('upfront worker', app);
}

/** A worker behind a job broker: 202 with a job, paid at acceptance; the result is fetched later. */
export function startBroker(options: DoubleOptions): Promise<Double> {
  const runs = new Runs(options.workMs);
  const jobs = new Map<string, { readonly token: string; result: Result | null }>();
  const app = express();
  runs.serve(app);
  app.post('/experiment', rawBody, createGate(options, {}), (request, response) => {
    const run = readRun(request.body);
    if (!run) {
      response.status(400).json({ error: 'no experiment' });
      return;
    }
    const [jobId, token] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
    const job: { readonly token: string; result: Result | null } = { token, result: null };
    jobs.set(jobId, job);
    void runs.run(run).then((result) => {
      job.result = result;
    });
    const statusUrl = `/jobs/${jobId}`;
    const expiresAt = isoTime(Date.now() + 3_600_000);
    response
      .status(202)
      .location(statusUrl)
      .json({ jobId, statusUrl, resultUrl: `${statusUrl}/result`, jobToken: token, expiresAt });
  });
  app.get('/jobs/:id', (request, response) => {
    const job = jobs.get(request.params.id);
    if (job) response.json({ jobId: request.params.id, state: job.result ? 'complete' : 'running' });
    else response.status(404).json({ error: 'unknown job' });
  });
  app.get('/jobs/:id/result', (request, response) => {
    const job = jobs.get(request.params.id);
    if (request.headers.authorization !== `Bearer ${job?.token}`) response.status(401).json({ error: 'token' });
    else if (job?.result) response.json(job.result);
    else response.status(409).set('retry-after', '5').json({ error: 'still running' });
  });
  return serve('broker', app);
}

export interface SignerDouble {
  readonly url: string;
  /** Nonces that it was asked to sign, repeats included. */
  readonly signedNonces: readonly string[];
  /** Requests for anything but the key list and transfers. */
  readonly strayRequests: readonly string[];
  close(): Promise<void>;
}

const TypedData = z.object({
  types: z.object({ TransferWithAuthorization: z.array(z.object({ name: z.string(), type: z.string() })) }).loose(),
  primaryType: z.literal('TransferWithAuthorization'),
  domain: z.object({
    name: z.string(),
    version: z.string(),
    chainId: z.number(),
    verifyingContract: z.custom<Hex>((value) => isHex(value)),
  }),
  message: z.record(z.string(), z.string()),
});

/** A remote signer (remote-signer.md section 8) that holds one key and keeps a list of what it was asked for. */
export async function startRemoteSigner(key: Hex): Promise<SignerDouble> {
  const account = privateKeyToAccount(key);
  const signedNonces: string[] = [];
  const strayRequests: string[] = [];
  const app = express().use(express.json());
  app.get('/api/v1/keys', (_request, response) => void response.json({ keys: [account.address] }));
  app.post(`/api/v1/sign/${account.address}/typed-data`, async (request, response) => {
    const { types, primaryType, domain, message } = TypedData.parse(request.body);
    signedNonces.push(message.nonce ?? '');
    response.json({ signature: await account.signTypedData({ types, primaryType, domain, message }) });
  });
  app.use((request, response) => {
    strayRequests.push(`${request.method} ${request.path}`);
    response.status(404).json({ error: 'not found' });
  });
  const { origin, close } = await listen('remote signer', app);
  return { url: origin, signedNonces, strayRequests, close };
}
