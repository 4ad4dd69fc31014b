import type { Experiment } from '../experiment/experiment.ts';
import { listDiscredited, listProven } from './credit.ts';
import type { ScoredRun } from './evidence.ts';
import type { ExtraFacts } from './extra-facts.ts';

/** So many waves of proposals at most start ahead of the confirmation of what was found before them. */
const WAVES = 3;

/**
 * How many rounds a finding may wait for its confirmation: what is tried on top of it meanwhile is confirmed with it, and
 * what turns out worse needs no second run.
 * @param parallel runs at once  @param isEnd whether no further proposals are to be expected
 */
export function countPatience(parallel: number, isEnd: boolean): number {
  return isEnd ? 0 : WAVES * parallel;
}

/** What it takes to know that. */
interface WaitFacts extends Pick<ExtraFacts, 'runs' | 'task' | 'patience'> {
  readonly experiments: readonly Pick<Experiment, 'role' | 'finishedAtMs'>[];
}

/** Whether a finding can wait, since it comes from a worker whose word others confirmed where nobody was caught lying. */
export function canWait(
  { runs, task, experiments, patience }: WaitFacts,
  run: Pick<ScoredRun, 'endpoint'>,
  sinceMs: number,
): boolean {
  if (listDiscredited(runs, task.noisePrior).size > 0 || !listProven(runs, task.noisePrior).has(run.endpoint))
    return false;
  const since = experiments.filter(({ role, finishedAtMs }) => role === 'round' && (finishedAtMs ?? 0) > sinceMs);
  return since.length < patience;
}
