import type { Log } from '../base/log.ts';
import { formatAgentId } from './agent-identity.ts';
import { type AssessContext, type AssessDeps, assessAgent } from './assess.ts';
import type { IndexPage } from './index-envelope.ts';
import { IndexError } from './index-errors.ts';
import type { IndexRow } from './index-row.ts';
import type { Criteria } from './judge.ts';
import { DEFAULT_SKILL } from './oasf.ts';
import { settleWithin } from './settle.ts';
import { draftFromRow, type Worker } from './worker.ts';

/** How one source of workers did; a failing source is reported and never ends the discovery. */
export interface SourceReport {
  readonly source: 'cache' | '8004scan' | '8004scan-internal' | 'static';
  readonly ok: boolean;
  /** Rows or workers that it gave. */
  readonly count: number;
  readonly ms: number;
  /** Code of what went wrong; `pending`: no answer within the call. */
  readonly error: string | null;
  /** `search_dropped`: asked again without the text search, which misses workers. */
  readonly note?: 'search_dropped' | 'stale';
  readonly ageSeconds?: number;
}

export interface RunQuery {
  readonly criteria: Criteria;
  readonly chainId: number | null;
  /** Rows per page of the index, 1 to 100. */
  readonly pageSize: number;
  /** When as many workers are found, no further page is asked for. */
  readonly wanted: number;
  readonly notBeforeMs: number;
  /** When somebody waits: until when the steps should have had their turn, milliseconds from the start. */
  readonly softMs: number;
  /** Ends everything, also what goes on after the caller has left. */
  readonly signal: AbortSignal;
}

/** At most so many list pages per step where requests are counted (8004scan.md section 2). */
const MAX_PAGES = 5;
/** The same for an index without a limit, such as the operator's own: 2,000 agents. */
const MAX_FREE_PAGES = 20;
/** Shares of `softMs`: when the second step starts at the latest, and when the last retry may. */
const FIRST_STEP = 0.5;
const LAST_STEP = 0.9;
/** A search that finds spam must not use up the minute: the list without it needs one request, and some for details. */
const SECOND_STEP_REQUESTS = 3;

/**
 * One climb of the discovery ladder. It goes on in the background when its caller's time is over, so that the next
 * caller finds what came late.
 */
export class DiscoveryRun {
  readonly #workers = new Map<string, Worker>();
  readonly #reports: SourceReport[] = [];
  readonly #startedMs = performance.now();
  #skippedRows = 0;
  /** Settles when every agent was assessed; never rejects. */
  readonly done: Promise<void>;
  #isDone = false;

  constructor(
    private readonly deps: AssessDeps & { readonly log: Log },
    private readonly query: RunQuery,
  ) {
    this.done = this.#climb()
      .catch((error: unknown) => deps.log.error({ error }, 'discovery run failed'))
      .then(() => {
        this.#isDone = true;
      });
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Whether any step had an answer of the index. */
  get hasAnswer(): boolean {
    return this.#reports.some((report) => report.ok);
  }

  /** What is known by now. */
  snapshot(): { workers: readonly Worker[]; sources: readonly SourceReport[]; skippedRows: number } {
    return { workers: [...this.#workers.values()], sources: [...this.#reports], skippedRows: this.#skippedRows };
  }

  async #climb(): Promise<void> {
    const search = this.query.criteria.skill ?? DEFAULT_SKILL;
    const first = this.#step(search, FIRST_STEP);
    // A search that hangs is not waited for: the list without it may answer.
    await settleWithin(first, this.#msUntil(FIRST_STEP));
    const second = this.#countFound() === 0 ? this.#step(null, LAST_STEP) : undefined;
    const assessed = [...(await first), ...((await second) ?? [])];
    await Promise.all(assessed);
  }

  /** @returns the assessments that it started; they never reject */
  async #step(search: string | null, share: number): Promise<Promise<void>[]> {
    const started: Promise<void>[] = [];
    const report = this.#startReport(search);
    const { wanted, pageSize, signal } = this.query;
    let count = 0;
    try {
      for (let page = 1; page <= this.#maxPages(wanted / pageSize) && !signal.aborted; page += 1) {
        const answer = await this.#fetchPage(search, page, share);
        count += answer.rows.length;
        this.#skippedRows += answer.skippedRows;
        const fresh = answer.rows.filter((row) => !this.#workers.has(formatAgentId(row.agent)));
        started.push(...this.#assess(fresh, share));
        report({ ok: true, count, error: null });
        // A page of known agents is a sign that the page number was ignored.
        if (!answer.hasMore || fresh.length === 0) break;
        // What cannot be enough needs no waiting, unless a page costs one of few requests.
        if (count < wanted && !this.deps.api.limiter.isLimited) continue;
        await settleWithin(Promise.all(started), this.#msUntil(share));
        if (this.#countFound() >= wanted) break;
      }
      await settleWithin(Promise.all(started), this.#msUntil(share));
    } catch (error) {
      if (!(error instanceof IndexError)) throw error;
      report({ ok: count > 0, count, error: error.code });
    }
    return started;
  }

  #maxPages(needed: number): number {
    return this.deps.api.limiter.isLimited ? MAX_PAGES : Math.min(MAX_FREE_PAGES, Math.max(MAX_PAGES, needed));
  }

  #fetchPage(search: string | null, page: number, share: number): Promise<IndexPage> {
    const { chainId, pageSize: limit, signal, softMs } = this.query;
    const retryUntilMs = this.#startedMs + softMs * share;
    return this.deps.api.fetchList({ search, chainId, limit, page }, { signal, retryUntilMs });
  }

  /** Placeholders last: where detail calls are scarce, they must not use them up. */
  #assess(rows: readonly IndexRow[], share: number): Promise<void>[] {
    const ordered = [...rows.filter((row) => !row.isNoise), ...rows.filter((row) => row.isNoise)];
    const { criteria, chainId, notBeforeMs, signal, softMs } = this.query;
    const context: AssessContext = {
      criteria,
      chainId,
      notBeforeMs,
      source: this.#source,
      budget: {
        signal,
        retryUntilMs: this.#startedMs + softMs * share,
        detailReserve: share === FIRST_STEP ? SECOND_STEP_REQUESTS : 0,
      },
      budgetMs: Math.max(softMs / 4, this.#msUntil(share)),
      publish: (worker) => this.#workers.set(worker.workerId, worker),
    };
    return ordered.map(async (row) => {
      try {
        await assessAgent(this.deps, row, context);
      } catch (error) {
        this.deps.log.error({ error, agent: formatAgentId(row.agent) }, 'agent could not be assessed');
        context.publish({ ...draftFromRow(row, this.#source), hiddenReason: 'internal_error' });
      }
    });
  }

  get #source(): '8004scan' | '8004scan-internal' {
    return this.deps.api.base.family === 'public' ? '8004scan' : '8004scan-internal';
  }

  #countFound(): number {
    return [...this.#workers.values()].filter((worker) => worker.hiddenReason === undefined).length;
  }

  #msUntil(share: number): number {
    return this.#startedMs + this.query.softMs * share - performance.now();
  }

  /** Stands as `pending` until the step reports, so that a snapshot never lacks a source. */
  #startReport(search: string | null): (outcome: Pick<SourceReport, 'ok' | 'count' | 'error'>) => void {
    const startedMs = performance.now();
    const index = this.#reports.length;
    const base = { source: this.#source, ...(search === null ? { note: 'search_dropped' as const } : {}) };
    this.#reports.push({ ...base, ok: false, count: 0, ms: 0, error: 'pending' });
    return (outcome) => {
      this.#reports[index] = { ...base, ...outcome, ms: Math.round(performance.now() - startedMs) };
    };
  }
}
