import type { Experiment } from '../experiment/experiment.ts';
import type { Task } from '../experiment/task-schema.ts';
import type { ScoredRun } from './evidence.ts';
import type { Title } from './titles.ts';

/** An extra run that a loop should make. */
export interface Extra {
  readonly role: 'confirmation' | 'retest' | 'audit' | 'canary';
  /** The run that it repeats. */
  readonly of: string;
  /** Last part of its idempotency key. */
  readonly key: string;
  /** Another seed than the run's own; null: the very same program. */
  readonly seed: number | null;
  /** The worker that it is about; null: chosen as usual. */
  readonly worker: string | null;
}

/** What the extra runs of a loop are planned from: pure data. */
export interface ExtraFacts {
  readonly task: Task;
  /** All runs of the loop, oldest first. */
  readonly experiments: readonly Experiment[];
  /** Scored runs of the whole lineage, oldest first. */
  readonly runs: readonly ScoredRun[];
  readonly titles: readonly Title[];
  readonly loopId: string;
  readonly rounds: number;
  readonly auditShare: number;
  /** How many rounds a finding may wait for its confirmation, see {@link countPatience}. */
  readonly patience: number;
  /** A number from 0 to 1 for each experiment that no worker can foresee. */
  readonly draw: (experimentId: string) => number;
  /** Workers on probation, with how often they offended. */
  readonly probation: readonly { readonly endpoint: string; readonly offences: number }[];
}

/** Reason of a repeat for which there is no second party. */
export const NO_INDEPENDENT_WORKER = 'no_independent_worker';

const EXTRA_ROLES: readonly string[] = ['retest', 'confirmation', 'audit', 'canary'];

/** Whether a run is one beside the rounds. */
export function isExtraRun({ role }: { readonly role: string }): boolean {
  return EXTRA_ROLES.includes(role);
}

/** Rounds that make it worth to look at one more worker before ideas are looked at. */
const ROUNDS_PER_WORKER = 16;

export function isOpen(run: Experiment): boolean {
  return run.finishedAtMs === null && run.state !== 'judged';
}

export function repeatsOf({ experiments }: ExtraFacts, experimentId: string, role?: Extra['role']): Experiment[] {
  return experiments.filter((run) => run.auditOf === experimentId && (role === undefined || run.role === role));
}

/** The run that made the holder of the newest title a champion. */
export function findHolder({ titles, runs }: Pick<ExtraFacts, 'titles' | 'runs'>): ScoredRun | undefined {
  return runs.find(({ experimentId }) => experimentId === titles.at(-1)?.experimentId);
}

export function isAlone({ state, reason }: Experiment): boolean {
  return state === 'refused' && reason?.code === NO_INDEPENDENT_WORKER;
}

/** How many workers are worth to be looked at before ideas are: none in a short loop, or in one without audits. */
export function countWorkersWorth({ rounds, auditShare }: ExtraFacts): number {
  return auditShare > 0 ? Math.floor(rounds / ROUNDS_PER_WORKER) : 0;
}

/**
 * A seed of the champion that the idea has not run with, else the next number; null for a script without one.
 * @param underWay how many runs of other seeds are: they have the seeds that come first
 */
export function pickSeed(
  run: ScoredRun,
  runs: readonly ScoredRun[],
  champion: readonly ScoredRun[],
  underWay = 0,
): number | null {
  if (run.seed === null) return null;
  const used = new Set(runs.filter(({ family }) => family === run.family).map(({ seed }) => Number(seed)));
  const theirs = new Set(champion.map(({ seed }) => Number(seed ?? Number.NaN)));
  const shared = [...theirs].filter((seed) => seed >= 0 && !used.has(seed));
  const highest = Math.max(0, ...[...used, ...shared].filter(Number.isSafeInteger));
  return shared[underWay] ?? highest + 1 + underWay - shared.length;
}
