import { groupBy, mean } from './evidence.ts';
import type { NoisePrior } from './noise.ts';

/** A score and the seed that it was drawn with; null where there is none. */
export interface Score {
  readonly seed: string | null;
  readonly valBpb: number;
}

/** How far a candidate is ahead of the champion. */
export interface Comparison {
  /** Champion minus candidate, means: positive is better. */
  readonly delta: number;
  /** Noise that the difference was held against: of one run, or of one difference where seeds were paired. */
  readonly sigma: number;
  readonly z: number;
  /** Seeds that both ran; 0 where the means were compared. */
  readonly pairs: number;
}

/** Fewer pairs say nothing about the spread of the differences. */
const MIN_PAIRS = 2;

/**
 * Compares a candidate with the champion (field.md section 4, rule 2): seed by seed where they share seeds, since what
 * luck both had falls away; else their means.
 * @param sigma noise of one run between variants  @param prior of the task, for the differences of pairs
 */
export function compareScores(
  candidate: readonly Score[],
  champion: readonly Score[],
  sigma: number,
  prior: NoisePrior,
): Comparison {
  const differences = pairBySeed(candidate, champion);
  if (differences.length >= MIN_PAIRS) {
    const delta = mean(differences);
    // A difference has twice the variance of one run.
    const squares = differences.reduce((sum, value) => sum + (value - delta) ** 2, 2 * prior.weight * prior.sigma ** 2);
    const own = Math.sqrt(squares / (prior.weight + differences.length - 1));
    return { delta, sigma: own, z: delta / (own / Math.sqrt(differences.length)), pairs: differences.length };
  }
  const delta = mean(champion.map(({ valBpb }) => valBpb)) - mean(candidate.map(({ valBpb }) => valBpb));
  const z = delta / (sigma * Math.sqrt(1 / champion.length + 1 / candidate.length));
  return { delta, sigma, z, pairs: 0 };
}

/** Champion minus candidate for every seed that both ran, repeats of a seed taken together. */
function pairBySeed(candidate: readonly Score[], champion: readonly Score[]): number[] {
  const bySeed = (scores: readonly Score[]) =>
    new Map(
      groupBy(
        scores.filter(({ seed }) => seed !== null),
        ({ seed }) => seed ?? '',
      ).map((same) => [same[0]?.seed ?? '', mean(same.map(({ valBpb }) => valBpb))]),
    );
  const theirs = bySeed(champion);
  return [...bySeed(candidate)].flatMap(([seed, score]) => {
    const other = theirs.get(seed);
    return other === undefined ? [] : [other - score];
  });
}
