import { groupBy, mean } from './evidence.ts';
import type { Noise, NoisePrior } from './noise.ts';

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
  /** What the difference may be off by noise alone, one deviation; z is the difference in units of it. */
  readonly error: number;
  readonly z: number;
  /** Seeds that both ran; 0 where the means were compared. */
  readonly pairs: number;
}

/** Fewer pairs say nothing about the spread of the differences. */
const MIN_PAIRS = 2;

/**
 * Compares a candidate with the champion (field.md section 4, rule 2): seed by seed where they share seeds, since what
 * luck both had falls away; else their means.
 * @param noise of one run  @param prior of the task: what its noise is worth beside the differences of pairs
 */
export function compareScores(
  candidate: readonly Score[],
  champion: readonly Score[],
  noise: Pick<Noise, 'repeat' | 'variant'>,
  prior: NoisePrior,
): Comparison {
  const differences = pairBySeed(candidate, champion);
  const [own, other] = [averageSeeds(candidate), averageSeeds(champion)];
  // Seeds that only the candidate ran would be thrown away.
  if (differences.length >= MIN_PAIRS && differences.length === own.size) {
    const delta = mean(differences);
    // A difference has twice the variance of one run.
    const known = 2 * prior.weight * noise.variant ** 2;
    const squares = differences.reduce((sum, value) => sum + (value - delta) ** 2, known);
    const sigma = Math.sqrt(squares / (prior.weight + differences.length - 1));
    const error = sigma / Math.sqrt(differences.length);
    return { delta, sigma, error, z: delta / error, pairs: differences.length };
  }
  const delta = mean([...other.values()]) - mean([...own.values()]);
  const variance = varianceOf(candidate.length, own.size, noise) + varianceOf(champion.length, other.size, noise);
  const error = Math.sqrt(variance);
  return { delta, sigma: noise.variant, error, z: delta / error, pairs: 0 };
}

/** Variance of a mean: a seed draws its luck once, however often it is repeated; the rest of the noise anew each time. */
function varianceOf(runs: number, seeds: number, { variant, repeat }: Pick<Noise, 'repeat' | 'variant'>): number {
  const redrawn = Math.min(repeat, variant) ** 2;
  return (variant ** 2 - redrawn) / seeds + redrawn / runs;
}

/** Seed → mean of its runs; runs of a program without a seed share one. */
function averageSeeds(scores: readonly Score[]): Map<string, number> {
  const bySeed = groupBy(scores, ({ seed }) => seed ?? '');
  return new Map(bySeed.map((same) => [same[0]?.seed ?? '', mean(same.map(({ valBpb }) => valBpb))]));
}

/** Champion minus candidate for every seed that both ran, repeats of a seed taken together. */
function pairBySeed(candidate: readonly Score[], champion: readonly Score[]): number[] {
  const seeded = (scores: readonly Score[]) => averageSeeds(scores.filter(({ seed }) => seed !== null));
  const theirs = seeded(champion);
  return [...seeded(candidate)].flatMap(([seed, score]) => {
    const other = theirs.get(seed);
    return other === undefined ? [] : [other - score];
  });
}
