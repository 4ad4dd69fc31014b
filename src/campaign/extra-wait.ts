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

/** Whether a finding can wait, since it comes from a worker whose word others confirmed where nobody was caught lying. */
export function canWait(facts: ExtraFacts, run: ScoredRun, sinceMs: number): boolean {
  const { runs, task, experiments, patience } = facts;
  if (listDiscredited(runs, task.noisePrior).size > 0 || !listProven(runs, task.noisePrior).has(run.endpoint))
    return false;
  const since = experiments.filter(({ role, finishedAtMs }) => role === 'round' && (finishedAtMs ?? 0) > sinceMs);
  return since.length < patience;
}
