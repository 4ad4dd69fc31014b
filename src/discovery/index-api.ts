import { type Clock, sleep } from '../base/time.ts';
import { NetworkError } from '../net/errors.ts';
import type { HttpAnswer, HttpClient } from '../net/http.ts';
import { type AgentIdentity, isSameAgent } from './agent-identity.ts';
import type { HostGate } from './host-gate.ts';
import {
  buildDetailUrl,
  buildIpfsFetchUrl,
  buildListUrl,
  type IndexBase,
  type ListQuery,
  mayFollowIndex,
  parseIndexBase,
} from './index-base.ts';
import { type IndexPage, parseDetail, parseListPage } from './index-envelope.ts';
import { findStatusError, IndexError, type IndexErrorCode } from './index-errors.ts';
import type { IndexRow } from './index-row.ts';
import { IndexRateLimiter } from './rate-limit.ts';
import { parseJson } from './tolerant.ts';

export interface IndexApiDeps {
  readonly http: HttpClient;
  readonly gate: HostGate;
  readonly clock: Clock;
  readonly scanApiUrl: string;
  readonly scanApiKey: string | undefined;
}

/** How long a call may go on. */
export interface CallBudget {
  readonly signal: AbortSignal;
  /** Retries start only if they can begin before this time, milliseconds of `performance.now()`. */
  readonly retryUntilMs: number;
  /** Requests of the current minute that a detail call leaves to others. */
  readonly detailReserve?: number;
}

/** Documented limits of the public service, requests per minute: anonymous, and with the smallest key. */
const ANONYMOUS_PER_MINUTE = 10;
const KEYED_PER_MINUTE = 30;
const MAX_BYTES = 4 * 1_048_576;
const TIMEOUT_MS = 10_000;
/** Waits before the retries of a failing index (8004scan.md section 5), milliseconds. */
const RETRY_WAITS_MS: readonly number[] = [1_000, 3_000];

/** Client of the 8004scan API, or of an index that speaks like it. */
export class IndexApi {
  readonly base: IndexBase;
  readonly limiter: IndexRateLimiter;

  constructor(private readonly deps: IndexApiDeps) {
    this.base = parseIndexBase(deps.scanApiUrl);
    const assumed = deps.scanApiKey === undefined ? ANONYMOUS_PER_MINUTE : KEYED_PER_MINUTE;
    this.limiter = new IndexRateLimiter(deps.clock, this.base.isPublicService ? assumed : null);
  }

  /**
   * Fetches one page of OASF agents. The index ignores filters it does not know: rows have to be checked.
   * @throws IndexError
   */
  async fetchList(query: ListQuery, budget: CallBudget): Promise<IndexPage> {
    const body = await this.#fetchJson(buildListUrl(this.base, query), budget, 0);
    const page = parseListPage(body, query);
    if (typeof page === 'string') throw new IndexError(page, this.base.host, { status: 200 });
    return page;
  }

  /**
   * Fetches one agent's details.
   * @throws IndexError; `not_found` is no proof that the agent does not exist
   */
  async fetchDetail(agent: AgentIdentity, budget: CallBudget): Promise<IndexRow> {
    const body = await this.#fetchJson(buildDetailUrl(this.base, agent), budget, budget.detailReserve ?? 0);
    const row = parseDetail(body);
    if (typeof row === 'string') throw new IndexError(row, this.base.host, { status: 200 });
    if (!isSameAgent(row.agent, agent)) throw new IndexError('unexpected_shape', this.base.host, { status: 200 });
    return row;
  }

  /** The address of the service's own copy of an IPFS document, with one request of its rate limit taken for it. */
  takeIpfsUrl(path: string): URL | null {
    const url = buildIpfsFetchUrl(this.base, path);
    return url && this.limiter.tryAcquire() ? url : null;
  }

  async #fetchJson(url: URL, budget: CallBudget, reserve: number): Promise<unknown> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#fetchOnce(url, budget.signal, reserve);
      } catch (error) {
        const baseWaitMs = RETRY_WAITS_MS[attempt];
        if (!(error instanceof IndexError) || !error.isTransient || baseWaitMs === undefined) throw error;
        // Jitter: many coordinators must not come back at the same moment.
        const waitMs = baseWaitMs * (0.75 + Math.random() / 2);
        if (performance.now() + waitMs > budget.retryUntilMs) throw error;
        await sleep(waitMs, budget.signal);
      }
    }
  }

  async #fetchOnce(url: URL, signal: AbortSignal, reserve: number): Promise<unknown> {
    const { http, gate, clock } = this.deps;
    const ask = () => this.#request(url, signal, reserve);
    const answer = await gate.run(url.host, http.isAllowedHost(url), signal, ask, true);
    const error = findStatusError(answer, clock.nowMs());
    this.limiter.observe(answer.status, answer.headers, error?.details.retryAfterMs ?? null);
    if (error) throw error;
    const json = parseJson(answer.body);
    if (!json.ok) throw new IndexError(json.reason, url.host, { status: answer.status });
    return json.value;
  }

  async #request(url: URL, signal: AbortSignal, reserve: number): Promise<HttpAnswer> {
    if (!this.limiter.tryAcquire(reserve)) {
      throw new IndexError('rate_limited', url.host, { retryAfterMs: this.limiter.waitMs(reserve) });
    }
    const { http, scanApiKey } = this.deps;
    try {
      return await http.request({
        url,
        ...(scanApiKey === undefined ? {} : { headers: { 'x-api-key': scanApiKey } }),
        maxBytes: MAX_BYTES,
        deadlineMs: TIMEOUT_MS,
        signal,
        mayRedirect: (from, to) => mayFollowIndex(this.base, from, to),
      });
    } catch (error) {
      if (error instanceof NetworkError) throw new IndexError(codeOfNetworkError(error), url.host);
      throw error;
    }
  }
}

function codeOfNetworkError(error: NetworkError): IndexErrorCode {
  switch (error.problem) {
    case 'connect_failed':
    case 'connection_lost':
      return 'unreachable';
    case 'blocked_url':
    case 'blocked_address':
    case 'redirect_blocked':
    case 'timeout':
    case 'cancelled':
    case 'too_large':
    case 'bad_encoding':
      return error.problem;
    default:
      return error.problem satisfies never;
  }
}
