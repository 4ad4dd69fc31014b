import * as z from 'zod';
import { buildWorkerUrl } from '../base/endpoint.ts';
import type { Clock } from '../base/time.ts';
import { NetworkError } from '../net/errors.ts';
import type { HttpAnswer, HttpClient } from '../net/http.ts';
import type { HostGate } from './host-gate.ts';
import { Memo } from './memo.ts';
import { parseJson } from './tolerant.ts';

/** What a worker's free health page says. `unknown`: it is up but does not tell, or nobody asked yet. */
export const Health = z
  .object({
    status: z.enum(['ok', 'busy', 'unknown', 'unreachable']),
    busy: z.boolean().optional(),
    /** The worker's limit for one experiment, seconds. */
    timeoutSeconds: z.number().positive().optional(),
  })
  .readonly();
export type Health = z.infer<typeof Health>;

export const UNKNOWN_HEALTH: Health = { status: 'unknown' };

const TIMEOUT_MS = 5_000;
const MAX_BYTES = 16_384;
/** A worker becomes busy within a second, but a burst of calls must not ask it again and again. */
const FRESH_MS = 20_000;
/** What gates and tunnels answer when the worker behind them is gone. */
const DEAD_STATUSES: ReadonlySet<number> = new Set([502, 504, 521, 522, 523, 524, 525, 526, 530]);

const HealthBody = z.object({
  status: z.string().optional().catch(undefined),
  busy: z.boolean().optional().catch(undefined),
  timeoutSeconds: z.number().positive().max(1e7).optional().catch(undefined),
});

/** Asks workers for their health; never pays for it. */
export class HealthProber {
  readonly #memo: Memo<Health | null>;

  constructor(private readonly deps: { readonly http: HttpClient; readonly gate: HostGate; readonly clock: Clock }) {
    this.#memo = new Memo(deps.clock, (health) => (health === null ? 0 : FRESH_MS));
  }

  /** What is known without asking. */
  peek(endpoint: string): Health | undefined {
    return this.#memo.peek(endpoint)?.value ?? undefined;
  }

  /** Asks `GET <endpoint>/health`; `unknown` also when the signal fired first. */
  async probe(endpoint: string, signal: AbortSignal, notBeforeMs = 0): Promise<Health> {
    const health = await this.#memo.get(endpoint, () => this.#ask(endpoint, signal), notBeforeMs);
    return health ?? UNKNOWN_HEALTH;
  }

  async #ask(endpoint: string, signal: AbortSignal): Promise<Health | null> {
    const { http, gate } = this.deps;
    const url = new URL(buildWorkerUrl(endpoint, 'health'));
    return gate.run(url.host, http.isAllowedHost(url), signal, async () => {
      try {
        return readHealth(await http.request({ url, maxBytes: MAX_BYTES, deadlineMs: TIMEOUT_MS, signal }));
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        if (error.problem === 'cancelled') return null;
        // An answer that is too large or oddly encoded still is one.
        const isAlive = error.problem === 'too_large' || error.problem === 'bad_encoding';
        return { status: isAlive ? 'unknown' : 'unreachable' };
      }
    });
  }
}

function readHealth(answer: HttpAnswer): Health {
  if (DEAD_STATUSES.has(answer.status)) return { status: 'unreachable' };
  // 402, 401 and 404 are common: gates price, guard or hide everything under their prefix.
  if (answer.status !== 200) return UNKNOWN_HEALTH;
  const json = parseJson(answer.body);
  const parsed = HealthBody.safeParse(json.ok ? json.value : undefined);
  if (!parsed.success) return UNKNOWN_HEALTH;
  const { status, busy, timeoutSeconds } = parsed.data;
  const isTold = busy !== undefined || status === 'ok';
  return {
    status: busy === true ? 'busy' : isTold ? 'ok' : 'unknown',
    ...(busy === undefined ? {} : { busy }),
    ...(timeoutSeconds === undefined ? {} : { timeoutSeconds }),
  };
}
