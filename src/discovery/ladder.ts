import { setMaxListeners } from 'node:events';
import { normalizeEndpoint } from '../base/endpoint.ts';
import type { Log } from '../base/log.ts';
import type { Clock } from '../base/time.ts';
import type { HttpClient } from '../net/http.ts';
import { parseWorkerId } from './agent-identity.ts';
import { ChainAccess, type ChainSource } from './chain-access.ts';
import { CacheReader, type DiscoveryCache, type Stored, type StoredList } from './discovery-cache.ts';
import { findEndpointProblem, isBlockedByOperator } from './experiment-url.ts';
import { HealthProber } from './health.ts';
import { HostGate } from './host-gate.ts';
import { DomainChecker } from './identity.ts';
import { IndexApi } from './index-api.ts';
import { createPlan, type Plan } from './plan.ts';
import { type DiscoveryResult, type Findings, presentFindings } from './present.ts';
import { RegistrationReader } from './registration-source.ts';
import { DiscoveryRun, type RunDeps } from './run.ts';
import { settleWithin } from './settle.ts';
import type { SourceReport } from './source-report.ts';
import { draftFromOperator, type Worker } from './worker.ts';

export interface DiscoveryDeps {
  readonly http: HttpClient;
  readonly scanApiUrl: string;
  readonly scanApiKey?: string | undefined;
  /** Endpoints that the operator vouches for. */
  readonly operatorWorkers: readonly string[];
  /** Endpoints that the operator never wants, with everything below them. */
  readonly blockedWorkers: readonly string[];
  /** Empty: the public ones. */
  readonly ipfsGateways: readonly string[];
  readonly cache: DiscoveryCache;
  /** Absent: no chain is asked. */
  readonly chains?: ChainSource | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export interface DiscoverRequest {
  /** OASF path; absent or an alias of the default: every alias of it. */
  readonly skill?: string | undefined;
  /** Name, CAIP-2 name or id of the chain on which workers have to be registered. */
  readonly chain?: string | undefined;
  /** Most workers in the answer. */
  readonly limit: number;
  /** Asks all sources again instead of the cache. */
  readonly refresh?: boolean;
  /** Also lists what is hidden, each with its reason. */
  readonly includeUnreachable?: boolean;
  /** When the answer has to be there, milliseconds; what is missing by then is counted as `pending`. */
  readonly deadlineMs?: number;
}

const DEFAULT_DEADLINE_MS = 2_500;
/** A run ends at the latest now, also in the background. */
const RUN_MS = 15_000;
const FRESH_MS = 5 * 60_000;
const FRESH_NEGATIVE_MS = 60_000;
/** The index's rate limit is one per minute: earlier, a list that lacks some agents would not get longer. */
const FRESH_INCOMPLETE_MS = 60_000;
/** Older lists are not shown while a newer one is on its way, only when there is none. */
const STALE_MS = 24 * 3_600_000;

/**
 * Finds workers: cache, then the index by search, without it and by skill, then the chain's registry, and beside all of
 * them the operator's own list.
 */
export class Discovery {
  readonly #assess: RunDeps;
  readonly #runs = new Map<string, DiscoveryRun>();
  readonly #closing = new AbortController();

  constructor(private readonly deps: DiscoveryDeps) {
    const { http, clock, log } = deps;
    const shared = { http, clock, gate: new HostGate() };
    const api = new IndexApi({ ...shared, scanApiUrl: deps.scanApiUrl, scanApiKey: deps.scanApiKey });
    this.#assess = {
      api,
      clock,
      log,
      cache: new CacheReader(deps.cache, log, api.base.url),
      reader: new RegistrationReader({
        ...shared,
        ipfsGateways: deps.ipfsGateways,
        takeIndexIpfsUrl: api.base.ipfsUrl === null ? undefined : (path) => api.takeIpfsUrl(path),
      }),
      domains: new DomainChecker(shared),
      prober: new HealthProber(shared),
      chains: deps.chains && new ChainAccess(deps.chains),
    };
  }

  /**
   * Finds workers within the deadline. Sources that fail and agents that do not answer are reported, never thrown; when
   * every entry of `sources` has `ok: false`, an empty list does not mean that there are no workers.
   * @throws InputError `unknown_chain` when the chain's name cannot be read
   */
  async discover(request: DiscoverRequest): Promise<DiscoveryResult> {
    const deadlineAtMs = performance.now() + (request.deadlineMs ?? DEFAULT_DEADLINE_MS);
    const plan = createPlan(request, this.deps);
    const operators = this.#startOperators();
    const found = await this.#find(plan, request, deadlineAtMs, operators.probed);
    const nowMs = this.deps.clock.nowMs();
    const findings: Findings = {
      ...found,
      workers: [...found.workers, ...operators.workers],
      sources: [...found.sources, ...operators.sources],
    };
    return presentFindings(findings, {
      criteria: plan.criteria,
      prober: this.#assess.prober,
      limit: request.limit,
      includeUnreachable: request.includeUnreachable ?? false,
      nowMs,
    });
  }

  /** Ends what still runs in the background. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#runs.values()].map((run) => run.done));
  }

  async #find(plan: Plan, request: DiscoverRequest, deadlineAtMs: number, probed: Promise<void>): Promise<Findings> {
    const leftMs = () => deadlineAtMs - performance.now();
    const startedMs = performance.now();
    let kept: Stored<StoredList> | undefined;
    // A store that is busy must not use up the call.
    await settleWithin(
      this.#assess.cache.loadList(plan.key).then((stored) => {
        kept = stored;
      }),
      leftMs() / 4,
    );
    const state = kept === undefined || request.refresh === true ? 'miss' : this.#judgeKept(kept);
    if (kept !== undefined && state !== 'miss') {
      if (state === 'stale') this.#startRun(plan, RUN_MS * 0.8, 0, kept);
      return this.#describeKept(kept, state === 'stale', startedMs);
    }
    const notBeforeMs = request.refresh === true ? this.deps.clock.nowMs() : 0;
    const run = this.#startRun(plan, leftMs(), notBeforeMs, kept);
    await settleWithin(Promise.all([run.ready, probed]), leftMs());
    const snapshot = { ...run.snapshot(), learnedAtMs: this.deps.clock.nowMs() };
    if (!run.isReady && countOffered(snapshot.workers) > 0) await settleWithin(this.#save(plan, run), leftMs());
    if (run.hasIndexAnswer || kept === undefined) return snapshot;
    // The index is away: what it said before still stands beside what the chain says now.
    const stale = this.#describeKept(kept, true, startedMs);
    const isNews = ({ workerId, hiddenReason }: Worker) =>
      hiddenReason === undefined && snapshot.workers.every((worker) => worker.workerId !== workerId);
    const older = { workers: stale.workers.filter(isNews), learnedAtMs: stale.learnedAtMs };
    return { ...snapshot, sources: [...stale.sources, ...snapshot.sources], older };
  }

  #judgeKept({ value, storedAtMs }: Stored<StoredList>): 'fresh' | 'stale' | 'miss' {
    const ageMs = this.deps.clock.nowMs() - storedAtMs;
    const isEmpty = countOffered(value.workers) === 0;
    if (ageMs < 0 || ageMs > STALE_MS) return 'miss';
    if (isEmpty) return value.isComplete && ageMs < FRESH_NEGATIVE_MS ? 'fresh' : 'miss';
    return ageMs < (value.isComplete ? FRESH_MS : FRESH_INCOMPLETE_MS) ? 'fresh' : 'stale';
  }

  #describeKept({ value, storedAtMs }: Stored<StoredList>, isStale: boolean, startedMs: number): Findings {
    const report: SourceReport = {
      source: 'cache',
      ok: true,
      count: value.workers.length,
      ms: Math.round(performance.now() - startedMs),
      error: null,
      ageSeconds: Math.max(0, Math.round((this.deps.clock.nowMs() - storedAtMs) / 1_000)),
      ...(isStale ? { note: 'stale' } : {}),
    };
    const { workers, skippedRows, dismissed } = value;
    return { workers, sources: [report], skippedRows, dismissed, learnedAtMs: storedAtMs };
  }

  /** One run per question at a time; a refresh starts its own. */
  #startRun(plan: Plan, softMs: number, notBeforeMs: number, kept: Stored<StoredList> | undefined): DiscoveryRun {
    const running = this.#runs.get(plan.key);
    if (running && notBeforeMs === 0) return running;
    const signal = this.#createSignal();
    const offered = kept?.value.workers.filter(({ hiddenReason }) => hiddenReason === undefined) ?? [];
    const known = offered.flatMap(({ workerId }) => parseWorkerId(workerId) ?? []);
    const run = new DiscoveryRun(this.#assess, { ...plan, softMs, notBeforeMs, known, signal });
    this.#runs.set(plan.key, run);
    const finish = async () => {
      await run.ready;
      await keep();
      await run.done;
      if (this.#runs.get(plan.key) === run) this.#runs.delete(plan.key);
      // Once more, with owners that were confirmed late.
      if (this.deps.chains) await keep();
    };
    const keep = async () => {
      // Without any answer of the index its older list is worth more than what one chain says.
      const isBetter =
        run.hasIndexAnswer ||
        (countOffered(run.snapshot().workers) > 0 && (kept === undefined || !kept.value.isFromIndex));
      if (isBetter && !this.#closing.signal.aborted) await this.#save(plan, run);
    };
    finish().catch((error: unknown) => this.deps.log.error({ error }, 'discovery result could not be kept'));
    return run;
  }

  async #save(plan: Plan, run: DiscoveryRun): Promise<void> {
    const { workers, skippedRows, dismissed } = run.snapshot();
    const isFromIndex = run.hasIndexAnswer;
    const isOpen = ({ hiddenReason }: Worker) => hiddenReason === 'pending' || hiddenReason === 'not_checked';
    const isComplete = run.isReady && isFromIndex && !workers.some(isOpen);
    const list = { workers, isComplete, skippedRows, dismissed, isFromIndex };
    await this.#assess.cache.saveList(plan.key, list, this.deps.clock.nowMs());
  }

  #createSignal(): AbortSignal {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(RUN_MS)]);
    // A hundred requests wait on it at once; that is no leak.
    setMaxListeners(0, signal);
    return signal;
  }

  /** The operator's workers belong to every answer, whatever chain is asked for: what they charge on is not known. */
  #startOperators(): { workers: Worker[]; sources: SourceReport[]; probed: Promise<void> } {
    const { operatorWorkers, blockedWorkers, http, clock } = this.deps;
    const endpoints = [...new Set(operatorWorkers.flatMap((text) => normalizeEndpoint(text) ?? []))];
    const workers = endpoints.map((endpoint) => draftFromOperator(endpoint, clock.nowMs()));
    const askable = endpoints.filter(
      (endpoint) => !isBlockedByOperator(endpoint, blockedWorkers) && findEndpointProblem(endpoint, http) === null,
    );
    const signal = this.#createSignal();
    const probes = askable.map((endpoint) => this.#assess.prober.probe(endpoint, signal));
    const probed = Promise.allSettled(probes).then(() => undefined);
    const report: SourceReport = { source: 'static', ok: true, count: endpoints.length, ms: 0, error: null };
    return { workers, sources: operatorWorkers.length > 0 ? [report] : [], probed };
  }
}

function countOffered(workers: readonly Worker[]): number {
  return workers.filter(({ hiddenReason }) => hiddenReason === undefined).length;
}
