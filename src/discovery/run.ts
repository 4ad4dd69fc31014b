import type { Log } from '../base/log.ts';
import { type AgentIdentity, formatAgentId, parseWorkerId } from './agent-identity.ts';
import { type AssessContext, type AssessDeps, assessAgent } from './assess.ts';
import type { ChainAccess } from './chain-access.ts';
import { ChainStep } from './chain-step.ts';
import type { ListQuery } from './index-base.ts';
import type { IndexPage } from './index-envelope.ts';
import { IndexError } from './index-errors.ts';
import type { IndexRow } from './index-row.ts';
import type { Criteria } from './judge.ts';
import { DEFAULT_SKILL, listAliases } from './oasf.ts';
import type { HiddenReason } from './reasons.ts';
import { settleWithin } from './settle.ts';
import { type SourceReport, SourceReports } from './source-report.ts';
import { draftFromRow, type Worker } from './worker.ts';

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
  /** Agents of an older list, to be looked up in their registry when the index is away. */
  readonly known: readonly AgentIdentity[];
  /** Ends everything, also what goes on after the caller has left. */
  readonly signal: AbortSignal;
}

export interface RunDeps extends AssessDeps {
  readonly log: Log;
  /** Absent: no chain is asked. */
  readonly chains?: ChainAccess | undefined;
}

export interface RunSnapshot {
  readonly workers: readonly Worker[];
  readonly sources: readonly SourceReport[];
  readonly skippedRows: number;
  readonly dismissed: Readonly<Record<string, number>>;
}

/** At most so many list pages per step where requests are counted (8004scan.md section 2). */
const MAX_PAGES = 5;
/** The same for an index without a limit, such as the operator's own: 2,000 agents. */
const MAX_FREE_PAGES = 20;
/** Shares of `softMs`: when the next step starts at the latest, and when the last retry may. */
const FIRST_STEP = 0.5;
const SECOND_STEP = 0.7;
const THIRD_STEP = 0.8;
const LAST_STEP = 0.9;
/** A search that finds spam must not use up the minute: the list without it needs one request, and some for details. */
const SECOND_STEP_REQUESTS = 3;
/** How long workers that are found wait for their owners, milliseconds: a node in reach answers in less. */
const OWNERS_MS = 250;
/** The index lists the agent but says no more of it; its registry may. */
const UNTOLD: ReadonlySet<HiddenReason | undefined> = new Set(['not_indexed', 'index_error', 'not_checked']);

/**
 * One climb of the discovery ladder (8004scan.md section 7). It goes on in the background when its caller's time is
 * over, so that the next caller finds what came late.
 *
 * The registry's log is read when no step before gave a worker with the skill, and on a refresh (then no further back
 * than to the last scan). Ids that the index lists without details are looked up in the registry in any case, those of an
 * older list when no worker was found. All that needs a node; without one the log counts as `no_rpc` and the rest is left.
 */
export class DiscoveryRun {
  readonly #workers = new Map<string, Worker>();
  readonly #reports = new SourceReports();
  readonly #startedMs = performance.now();
  readonly #chain: ChainStep | undefined;
  #skippedRows = 0;
  #hasIndexAnswer = false;
  #aside: Promise<unknown> | undefined;
  /** Settles when every agent was assessed; never rejects. */
  readonly ready: Promise<void>;
  /** Settles when, beyond that, owners are confirmed; never rejects. */
  readonly done: Promise<void>;
  #isReady = false;

  constructor(
    private readonly deps: RunDeps,
    private readonly query: RunQuery,
  ) {
    this.#chain = deps.chains && this.#createChainStep(deps.chains);
    const climbed = this.#climb().catch((error: unknown) => deps.log.error({ error }, 'discovery run failed'));
    const confirmed = climbed.then(async () => {
      await this.#aside;
      await this.#attempt(this.#chain?.confirmOwners(), 'owners could not be confirmed');
    });
    this.ready = climbed
      .then(() => settleWithin(confirmed, OWNERS_MS))
      .then(() => {
        this.#isReady = true;
      });
    this.done = Promise.all([this.ready, confirmed]).then(() => undefined);
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Whether any step had an answer of the index. */
  get hasIndexAnswer(): boolean {
    return this.#hasIndexAnswer;
  }

  /** What is known by now. */
  snapshot(): RunSnapshot {
    const dismissed = this.#chain?.dismissed ?? {};
    return { workers: this.#list(), sources: this.#reports.list(), skippedRows: this.#skippedRows, dismissed };
  }

  async #climb(): Promise<void> {
    const { skill } = this.query.criteria;
    const steps = [this.#step({ search: skill ?? DEFAULT_SKILL }, FIRST_STEP)];
    // A step that hangs is not waited for: the next may answer.
    await settleWithin(Promise.all(steps), this.#msUntil(FIRST_STEP));
    if (this.#countFound() === 0) {
      steps.push(this.#step({ search: null }, LAST_STEP));
      await settleWithin(Promise.all(steps), this.#msUntil(SECOND_STEP));
    }
    if (this.#countFound() === 0 && this.deps.api.base.family === 'internal') {
      steps.push(...listAliases(skill).map((oasfSkill) => this.#step({ search: null, oasfSkill }, LAST_STEP)));
      await settleWithin(Promise.all(steps), this.#msUntil(THIRD_STEP));
    }
    const asked = this.#askChain();
    await Promise.all((await Promise.all(steps)).flat());
    await asked;
  }

  async #askChain(): Promise<void> {
    if (!this.#chain) return;
    const isFound = this.#countFound() > 0;
    const untold = this.#list().flatMap((worker) => (UNTOLD.has(worker.hiddenReason) ? worker.workerId : []));
    const ids = untold.flatMap((workerId) => parseWorkerId(workerId) ?? []);
    const known = isFound ? ids : [...ids, ...this.query.known];
    const needsScan = !isFound || this.query.notBeforeMs > 0;
    const lookUp = this.#attempt(this.#chain.lookUp(known, !isFound), 'known agents could not be looked up');
    const scan = needsScan && this.#attempt(this.#chain.scan(isFound), 'the registry could not be scanned');
    // With workers in hand nobody waits for a node: for those that were found long before the slowest is, too.
    if (isFound) {
      this.#aside = Promise.all([lookUp, this.#attempt(this.#chain.confirmOwners(), 'owners could not be confirmed')]);
      await scan;
    } else await Promise.all([lookUp, scan]);
  }

  /** A failure of ours on one step costs that step alone. */
  async #attempt(task: Promise<void> | undefined, message: string): Promise<void> {
    await task?.catch((error: unknown) => this.deps.log.error({ error }, message));
  }

  /** @returns the assessments that it started; they never reject */
  async #step(what: Pick<ListQuery, 'search' | 'oasfSkill'>, share: number): Promise<Promise<void>[]> {
    const started: Promise<void>[] = [];
    const note = what.oasfSkill === undefined ? 'search_dropped' : 'by_skill';
    const report = this.#reports.start(this.#source, what.search === null ? note : undefined);
    const { wanted, pageSize, signal } = this.query;
    let count = 0;
    try {
      for (let page = 1; page <= this.#maxPages(wanted / pageSize) && !signal.aborted; page += 1) {
        const answer = await this.#fetchPage(what, page, share);
        this.#hasIndexAnswer = true;
        count += answer.rows.length;
        this.#skippedRows += answer.skippedRows;
        const fresh = answer.rows.filter((row) => !this.#workers.has(formatAgentId(row.agent)));
        const reserve = share === FIRST_STEP ? SECOND_STEP_REQUESTS : 0;
        started.push(...this.#assess(fresh, this.#createContext(this.#source, share, reserve)));
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

  #fetchPage(what: Pick<ListQuery, 'search' | 'oasfSkill'>, page: number, share: number): Promise<IndexPage> {
    const { chainId, pageSize: limit, signal, softMs } = this.query;
    const retryUntilMs = this.#startedMs + softMs * share;
    return this.deps.api.fetchList({ ...what, chainId, limit, page }, { signal, retryUntilMs });
  }

  #createContext(source: Worker['source'], share: number, detailReserve: number): AssessContext {
    const { criteria, chainId, notBeforeMs, signal, softMs } = this.query;
    return {
      criteria,
      chainId,
      notBeforeMs,
      source,
      budget: { signal, retryUntilMs: this.#startedMs + softMs * share, detailReserve },
      budgetMs: Math.max(softMs / 4, this.#msUntil(share)),
      publish: (worker) => this.#publish(worker),
    };
  }

  /** Placeholders last: where detail calls are scarce, they must not use them up. */
  #assess(rows: readonly IndexRow[], context: AssessContext): Promise<void>[] {
    const ordered = [...rows.filter((row) => !row.isNoise), ...rows.filter((row) => row.isNoise)];
    return ordered.map(async (row) => {
      try {
        await assessAgent(this.deps, row, context);
      } catch (error) {
        this.deps.log.error({ error, agent: formatAgentId(row.agent) }, 'agent could not be assessed');
        context.publish({ ...draftFromRow(row, context.source), hiddenReason: 'internal_error' });
      }
    });
  }

  /** What is known of an agent is not taken back while another source is asked for it. */
  #publish(worker: Worker): void {
    const known = this.#workers.get(worker.workerId);
    if (worker.hiddenReason === 'pending' && known && known.hiddenReason !== 'pending') return;
    this.#workers.set(worker.workerId, this.#chain?.overlay(worker) ?? worker);
  }

  #createChainStep(chains: ChainAccess): ChainStep {
    const { query, deps } = this;
    return new ChainStep(
      { access: chains, reader: deps.reader, clock: deps.clock },
      {
        chainId: query.chainId ?? chains.source.defaultChainId,
        skill: query.criteria.skill,
        signal: query.signal,
        notBeforeMs: query.notBeforeMs,
        leftMs: () => this.#msUntil(1),
        workers: () => this.#list(),
        publish: (worker) => this.#publish(worker),
        reports: this.#reports,
        assess: async (row) => {
          await Promise.all(this.#assess([row], this.#createContext('chain', 1, 0)));
        },
      },
    );
  }

  get #source(): '8004scan' | '8004scan-internal' {
    return this.deps.api.base.family === 'public' ? '8004scan' : '8004scan-internal';
  }

  #list(): readonly Worker[] {
    return [...this.#workers.values()];
  }

  #countFound(): number {
    return this.#list().filter((worker) => worker.hiddenReason === undefined).length;
  }

  #msUntil(share: number): number {
    return this.#startedMs + this.query.softMs * share - performance.now();
  }
}
