import { createHash } from 'node:crypto';
import { type Hex, recoverMessageAddress } from 'viem';
import { type Exchange, encode, type HostileWorker } from './hostile-worker.ts';

const FIRST_LINE = / wants you to sign in with your Ethereum account:$/;
/** How old a text may be, and how far ahead of our clock, in milliseconds (worker-api.md section 6). */
const MAX_AGE_MS = 600_000;
const MAX_AHEAD_MS = 120_000;

/** Verifies wallet sign-ins as the field's gate does: for one host, fresh, each once. */
export class SignInGate {
  /** Credentials that were let in. */
  readonly accepted: string[] = [];
  /** Why others were not. */
  readonly refused: string[] = [];
  readonly #host: string;
  readonly #nowMs: () => number;
  readonly #nonces = new Set<string>();

  constructor(host: string, nowMs: () => number) {
    this.#host = host;
    this.#nowMs = nowMs;
  }

  /** The wallet that signed in with a request, lower-case; null without one that counts. */
  async verify(exchange: Exchange): Promise<string | null> {
    const { authorization } = exchange.seen.headers;
    if (authorization === undefined) return null;
    const problem = await this.#check(authorization);
    if (problem.startsWith('0x')) this.accepted.push(authorization);
    else this.refused.push(problem);
    return problem.startsWith('0x') ? problem : null;
  }

  async #check(authorization: string): Promise<string> {
    const [message = '', proof = ''] = authorization.replace(/^SIWX /, '').split('.');
    const text = Buffer.from(message, 'base64').toString('utf8');
    const signature = Buffer.from(proof, 'base64').toString('utf8');
    const [first = '', address = '', ...lines] = text.split('\n');
    const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? '';
    if (!FIRST_LINE.test(first) || first.replace(FIRST_LINE, '') !== this.#host) return `another host: ${first}`;
    if (field('Version') !== '1' || field('URI') === '') return 'no URI or version';
    const ageMs = this.#nowMs() - Date.parse(field('Issued At'));
    if (!(ageMs <= MAX_AGE_MS && ageMs >= -MAX_AHEAD_MS)) return `not fresh: ${ageMs} ms`;
    const signer = await recoverMessageAddress({ message: text, signature: toHex(signature) });
    if (signer.toLowerCase() !== address.toLowerCase()) return 'another signer';
    const nonce = field('Nonce');
    if (nonce === '' || this.#nonces.has(nonce)) return 'a nonce that was used';
    this.#nonces.add(nonce);
    return signer.toLowerCase();
  }
}

function toHex(text: string): Hex {
  return `0x${text.replace(/^0x/, '')}`;
}

/** One job of the broker. */
export interface BrokerJob {
  readonly jobId: string;
  readonly path: string;
  readonly createdAt: string;
  readonly payer: string;
  state: string;
  result: unknown;
}

/**
 * A broker with a list of jobs in front of a worker. It settles at acceptance and then cuts the connection, so that
 * nobody gets its 202; results and lists open with a sign-in alone.
 */
export class CuttingBroker {
  readonly jobs: BrokerJob[] = [];
  readonly gate: SignInGate;
  /** Whether its 202 gets lost. */
  isCut = true;
  /** State of jobs that come in. */
  state = 'complete';
  /** Answers in place of the list. */
  onList: ((exchange: Exchange, wallet: string | null) => void) | null = null;
  /** What it hands out in place of a job's result. */
  onResult: ((exchange: Exchange, job: BrokerJob) => void) | null = null;
  readonly #payer: string;
  readonly #nowMs: () => number;

  constructor(of: HostileWorker, payer: string, nowMs: () => number) {
    this.gate = new SignInGate(of.host, nowMs);
    this.#payer = payer.toLowerCase();
    this.#nowMs = nowMs;
    of.answers.paid = async (exchange) => {
      const receipt = await exchange.settle();
      if (!receipt.success) return exchange.demand();
      const { jobId } = this.add({ result: exchange.result() });
      if (this.isCut) return exchange.reset();
      const statusUrl = `/services/w/jobs/${jobId}`;
      const body = { jobId, statusUrl, resultUrl: `${statusUrl}/result`, jobToken: jobId };
      exchange.json(202, body, { 'payment-response': encode(receipt) });
    };
    of.answers.other = (exchange) => this.#answer(exchange);
  }

  /** Adds a job of the paying wallet, created now, unless told otherwise. */
  add(job: Partial<BrokerJob>): BrokerJob {
    const jobId = createHash('sha256').update(`${this.jobs.length}`).digest('hex').slice(0, 32);
    const createdAt = new Date(Math.floor(this.#nowMs() / 1000) * 1000).toISOString();
    const added = {
      jobId,
      path: '/experiment',
      createdAt,
      payer: this.#payer,
      state: this.state,
      result: null,
      ...job,
    };
    this.jobs.push(added);
    return added;
  }

  async #answer(exchange: Exchange): Promise<void> {
    const [, jobId, tail] = /^\/services\/w\/jobs(?:\/([^/]+)(\/result)?)?$/.exec(exchange.seen.path) ?? ['', '-'];
    const wallet =
      exchange.seen.headers.authorization === `Bearer ${jobId}` ? this.#payer : await this.gate.verify(exchange);
    if (jobId === undefined) return this.#list(exchange, wallet);
    const job = this.jobs.find((one) => one.jobId === jobId);
    if (!job) return exchange.json(404, { error: 'No such job' });
    if (tail === undefined) return exchange.json(200, { jobId, state: job.state, resultUrl: `/jobs/${jobId}/result` });
    if (this.onResult) return this.onResult(exchange, job);
    if (wallet !== job.payer) return exchange.json(401, { error: 'Not your job' });
    if (job.state !== 'complete') return exchange.json(job.state === 'failed' ? 502 : 409, { error: 'not finished' });
    return exchange.json(200, job.result);
  }

  #list(exchange: Exchange, wallet: string | null): void {
    if (this.onList) this.onList(exchange, wallet);
    else if (wallet === null) this.#challenge(exchange);
    else {
      const jobs = this.jobs.filter(({ payer }) => payer === wallet).map(({ result, payer, ...row }) => row);
      exchange.json(200, { wallet, jobs: jobs.reverse().slice(0, 100) });
    }
  }

  /** As the field's gate asks for a sign-in, but with addresses of another host. */
  #challenge(exchange: Exchange): void {
    const auth = { domain: 'evil.example', windowSeconds: 600, verifyUrl: 'https://evil.example/auth/verify' };
    const headers = { 'www-authenticate': 'SIWX realm="jobs", domain="evil.example"' };
    exchange.json(401, { error: 'authentication_required', auth }, headers);
  }
}
