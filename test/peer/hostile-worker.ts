import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { getAddress, type Hex } from 'viem';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import * as z from 'zod';
import { sha256 } from '../../src/base/hash.ts';
import { canonicalAddresses } from '../../src/localnet/contracts.ts';

const BASE = '/services/w';
export const PRICE_ATOMIC = 50_000n;

/** One request as it arrived. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The payment header as received, from whichever of the two names; null without one. */
  readonly payment: string | null;
}

export type Answer = (exchange: Exchange) => void | Promise<void>;
/** What a worker is asked for; `other` is every further address, such as those of jobs. */
export type Route = 'health' | 'probe' | 'paid' | 'stored' | 'status' | 'other';

/** A receipt as a facilitator gives it; tests may hand on, change or forge it. */
export type Receipt = z.infer<typeof Receipt>;
const Receipt = z.looseObject({
  success: z.boolean(),
  transaction: z.string().default(''),
  payer: z.string().optional(),
});
const Payment = z.looseObject({ payload: z.looseObject({ authorization: z.looseObject({ nonce: z.string() }) }) });
const Submission = z.looseObject({
  train_py: z.string(),
  config: z.record(z.string(), z.unknown()),
  experiment_id: z.string(),
});

/** One request with its answer, and what a worker may do meanwhile. */
export class Exchange {
  readonly worker: HostileWorker;
  readonly seen: Seen;
  readonly response: ServerResponse;

  constructor(worker: HostileWorker, seen: Seen, response: ServerResponse) {
    this.worker = worker;
    this.seen = seen;
    this.response = response;
  }

  /** How often this payment arrived so far, this time included. */
  get arrivals(): number {
    return this.worker.payments.filter((payment) => payment === this.seen.payment).length;
  }

  json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
    this.text(status, JSON.stringify(body), { 'content-type': 'application/json', ...headers });
  }

  text(status: number, body: string | Uint8Array, headers: Readonly<Record<string, string>> = {}): void {
    this.response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers }).end(body);
  }

  /** Breaks the connection with a reset. */
  reset(): void {
    this.response.socket?.resetAndDestroy();
  }

  /** Asks for money, in the header of x402 v2. */
  demand(status = 402): void {
    this.json(status, {}, { 'payment-required': encode(this.worker.terms()) });
  }

  /** Really takes the money of this request's payment, or tries to. */
  async settle(): Promise<Receipt> {
    return this.worker.settle(this.seen.payment ?? '');
  }

  /** An honest result of the submitted program, changed as a test likes. */
  result(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    return { ...buildResult(this.seen.body), ...changes };
  }

  /** Settles, then answers as an honest worker does. */
  async serve(changes: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const receipt = await this.settle();
    this.json(200, this.result(changes), { 'payment-response': encode(receipt) });
  }
}

/** A worker on loopback whose every answer a test decides. Without a script it is an honest one. */
export class HostileWorker {
  readonly payTo: Hex = privateKeyToAddress(generatePrivateKey());
  readonly log: Seen[] = [];
  answers: Partial<Record<Route, Answer>> = {};
  /** What its offer differs in from an honest one. */
  offer: Readonly<Record<string, unknown>> = {};
  /** What its 402 differs in from an honest one. */
  envelope: Readonly<Record<string, unknown>> = {};
  /** Address and port. */
  host = '';
  readonly #server: Server;
  readonly #facilitator: string;

  private constructor(facilitator: string) {
    this.#facilitator = facilitator;
    this.#server = createServer({ maxHeaderSize: 65_536 }, (request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  /** @param facilitator origin of the facilitator through which it can take money */
  static async start(facilitator: string): Promise<HostileWorker> {
    const worker = new HostileWorker(facilitator);
    await new Promise<void>((resolve) => worker.#server.listen(0, '127.0.0.1', resolve));
    const address = worker.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the worker has no port');
    worker.host = `127.0.0.1:${address.port}`;
    return worker;
  }

  get endpoint(): string {
    return `http://${this.host}${BASE}`;
  }

  /** Payment headers in the order of their arrival. */
  get payments(): string[] {
    return this.log.flatMap(({ payment }) => (payment === null ? [] : [payment]));
  }

  /** Nonces of the payments that arrived, each once. */
  get nonces(): string[] {
    return [...new Set(this.payments)].map((value) => decodePayment(value).payload.authorization.nonce);
  }

  /** The offer as it stands. */
  requirements(): Record<string, unknown> {
    return {
      scheme: 'exact',
      network: 'eip155:84532',
      amount: PRICE_ATOMIC.toString(),
      asset: canonicalAddresses.token,
      payTo: getAddress(this.payTo),
      maxTimeoutSeconds: 900,
      extra: { name: 'USDC', version: '2' },
      ...this.offer,
    };
  }

  /** The document of its 402. */
  terms(): Record<string, unknown> {
    return {
      x402Version: 2,
      error: 'Payment required',
      resource: { url: `${this.endpoint}/experiment`, description: 'runs train.py', mimeType: 'application/json' },
      accepts: [this.requirements()],
      ...this.envelope,
    };
  }

  /** Hands a payment to the facilitator, as often as it likes. */
  async settle(payment: string): Promise<Receipt> {
    const paymentPayload = decodePayment(payment);
    const answer = await fetch(`${this.#facilitator}/settle`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        x402Version: paymentPayload.x402Version,
        paymentPayload,
        paymentRequirements: this.requirements(),
      }),
    });
    return Receipt.parse(await answer.json());
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = await readRequest(request);
    this.log.push(seen);
    const route = findRoute(seen);
    await (this.answers[route] ?? HONEST[route])(new Exchange(this, seen, response));
  }
}

const HONEST: Readonly<Record<Route, Answer>> = {
  health: (exchange) => exchange.json(200, { status: 'ok', busy: false, timeoutSeconds: 10 }),
  probe: (exchange) => exchange.demand(),
  paid: (exchange) => exchange.serve(),
  stored: (exchange) => exchange.json(404, { error: 'not found' }),
  status: (exchange) => exchange.json(200, { status: 'idle', current: null, last: null, best: null }),
  other: (exchange) => exchange.json(404, { error: 'unknown endpoint' }),
};

function findRoute({ method, path, payment }: Seen): Route {
  if (path === `${BASE}/experiment` && method === 'POST') return payment === null ? 'probe' : 'paid';
  if (path === `${BASE}/health`) return 'health';
  if (path === `${BASE}/status`) return 'status';
  return path.startsWith(`${BASE}/experiments/`) ? 'stored' : 'other';
}

async function readRequest(request: IncomingMessage): Promise<Seen> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(z.instanceof(Buffer).parse(chunk));
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join() : (value ?? '')]),
  );
  return {
    method: request.method ?? '',
    path: request.url ?? '',
    headers,
    body: Buffer.concat(chunks).toString('utf8'),
    payment: headers['payment-signature'] ?? headers['x-payment'] ?? null,
  };
}

/** What an honest worker answers to a submission. */
export function buildResult(submission: string): Record<string, unknown> {
  const { train_py, config, experiment_id } = Submission.parse(JSON.parse(submission));
  return {
    experiment_id,
    status: 'completed',
    return_code: 0,
    val_bpb: 1.5,
    train_hash: sha256(train_py),
    artifact_path: null,
    log_path: '/data/run.log',
    durationSeconds: 0.01,
    config,
  };
}

/** Base64 of JSON, as x402 puts documents into headers. */
export function encode(document: unknown): string {
  return Buffer.from(JSON.stringify(document)).toString('base64');
}

export function decodePayment(header: string): z.infer<typeof Payment> {
  return Payment.parse(JSON.parse(Buffer.from(header, 'base64').toString('utf8')));
}
