import { mergeWorkers } from './dedup.ts';
import { findEndpointProblem, isBlockedByOperator } from './experiment-url.ts';
import type { HealthProber } from './health.ts';
import type { Criteria } from './judge.ts';
import type { SourceReport } from './source-report.ts';
import type { Worker } from './worker.ts';

export interface DiscoveryResult {
  /** Best first; those that are hidden come last, and only when they were asked for. */
  readonly workers: readonly Worker[];
  /** How many workers are offered, before `limit`. */
  readonly totalWorkers: number;
  readonly sources: readonly SourceReport[];
  /** Why agents are not offered: reason → how many. */
  readonly hidden: Readonly<Record<string, number>>;
}

export interface PresentOptions {
  readonly criteria: Criteria;
  readonly prober: HealthProber;
  readonly limit: number;
  readonly includeUnreachable: boolean;
  readonly nowMs: number;
}

/** What a discovery knows before it is put into order. */
export interface Findings {
  readonly workers: readonly Worker[];
  readonly sources: readonly SourceReport[];
  readonly skippedRows: number;
  /** Agents that were read and left out one by one: reason → how many. */
  readonly dismissed: Readonly<Record<string, number>>;
  /** When this was learned, milliseconds since the Unix epoch. */
  readonly learnedAtMs: number;
  /** What an older list knows beyond that. */
  readonly older?: { readonly workers: readonly Worker[]; readonly learnedAtMs: number };
}

/** Brings what is known up to date (health, blocked endpoints, ages), merges it and counts what is hidden. */
export function presentFindings(findings: Findings, options: PresentOptions): DiscoveryResult {
  const update = ({ workers, learnedAtMs }: Pick<Findings, 'workers' | 'learnedAtMs'>) =>
    workers.map((worker) => refresh(worker, learnedAtMs, options));
  const merged = mergeWorkers([...update(findings), ...(findings.older ? update(findings.older) : [])]);
  const offered = merged.filter((worker) => worker.hiddenReason === undefined);
  const rest = merged.filter((worker) => worker.hiddenReason !== undefined);
  const hidden: Record<string, number> = { ...findings.dismissed };
  if (findings.skippedRows > 0) hidden.bad_row = findings.skippedRows;
  for (const { hiddenReason, identities } of rest) {
    if (hiddenReason !== undefined) hidden[hiddenReason] = (hidden[hiddenReason] ?? 0) + identities.length;
  }
  return {
    workers: (options.includeUnreachable ? [...offered, ...rest] : offered).slice(0, options.limit),
    totalWorkers: offered.length,
    sources: findings.sources,
    hidden,
  };
}

function refresh(worker: Worker, learnedAtMs: number, options: PresentOptions): Worker {
  const readAtMs = worker.fetchedAt === null ? learnedAtMs : Date.parse(worker.fetchedAt);
  const ageSeconds = Math.max(0, Math.round((options.nowMs - readAtMs) / 1_000));
  const endpoint = worker.workerEndpoint;
  if (endpoint === null) return { ...worker, ageSeconds };
  const health = options.prober.peek(endpoint) ?? worker.health;
  const { hiddenReason, ...rest } = worker;
  const known = { ...rest, ageSeconds, health };
  // What the operator allows or blocks may have changed since a cached list was made.
  const problem =
    findEndpointProblem(endpoint, options.criteria.http) ??
    (isBlockedByOperator(endpoint, options.criteria.blockedWorkers) ? 'blocked_by_operator' : null);
  const isDead = health.status === 'unreachable';
  const other = hiddenReason === 'unreachable' || hiddenReason === 'blocked_by_operator' ? undefined : hiddenReason;
  const reason = other ?? problem ?? (isDead ? 'unreachable' : undefined);
  return reason === undefined ? known : { ...known, hiddenReason: reason };
}
