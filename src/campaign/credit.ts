import { groupBy, type ScoredRun } from './evidence.ts';
import type { NoisePrior } from './noise.ts';
import { judgeStanding, MIN_TRUST, markRepeats } from './standing.ts';

/** A list of runs → who is discredited by it: one decision asks for the same many times. */
const known = new WeakMap<readonly ScoredRun[], ReadonlySet<string>>();
/** The same for who is proven. */
const knownProven = new WeakMap<readonly ScoredRun[], ReadonlySet<string>>();

/**
 * Workers whose word counts for nothing in a lineage any more, since others contradicted them in it.
 * @param runs never changed after this
 */
export function listDiscredited(runs: readonly ScoredRun[], prior: NoisePrior): ReadonlySet<string> {
  const found = known.get(runs) ?? findDiscredited(runs, prior);
  known.set(runs, found);
  return found;
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
  const found = knownProven.get(runs) ?? findProven(runs, prior);
  knownProven.set(runs, found);
  return found;
}

function findProven(runs: readonly ScoredRun[], prior: NoisePrior): ReadonlySet<string> {
  return new Set(markRepeats(runs, prior).flatMap(({ endpoint, kind }) => (kind === 'agreement' ? endpoint : [])));
}
