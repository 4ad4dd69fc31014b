import { rememberPer } from '../base/memo.ts';
import { groupBy, type ScoredRun } from './evidence.ts';
import type { NoisePrior } from './noise.ts';
import { judgeStanding, MIN_TRUST, markRepeats } from './standing.ts';

/** One decision asks for the same many times. */
const recallDiscredited = rememberPer<readonly ScoredRun[], ReadonlySet<string>>();
const recallProven = rememberPer<readonly ScoredRun[], ReadonlySet<string>>();

/**
 * Workers whose word counts for nothing in a lineage any more, since others contradicted them in it.
 * @param runs never changed after this
 */
export function listDiscredited(runs: readonly ScoredRun[], prior: NoisePrior): ReadonlySet<string> {
  return recallDiscredited(runs, () => findDiscredited(runs, prior));
}

function findDiscredited(runs: readonly ScoredRun[], prior: NoisePrior): ReadonlySet<string> {
  const marks = groupBy(markRepeats(runs, prior), ({ endpoint }) => endpoint);
  return new Set(
    marks
      .flatMap((own) => (judgeStanding(own, 0).trust < MIN_TRUST ? own.slice(0, 1) : []))
      .map(({ endpoint }) => endpoint),
  );
}

/** Workers whose word somebody else has confirmed. @param runs never changed after this */
export function listProven(runs: readonly ScoredRun[], prior: NoisePrior): ReadonlySet<string> {
  return recallProven(runs, () => findProven(runs, prior));
}

function findProven(runs: readonly ScoredRun[], prior: NoisePrior): ReadonlySet<string> {
  return new Set(markRepeats(runs, prior).flatMap(({ endpoint, kind }) => (kind === 'agreement' ? endpoint : [])));
}
