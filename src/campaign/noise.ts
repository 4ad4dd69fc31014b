import { rememberPer } from '../base/memo.ts';
import type { Task } from '../experiment/task-schema.ts';
import { doesCount, groupBy, mean, median, type ScoredRun } from './evidence.ts';

export type NoisePrior = Task['noisePrior'];

/** Noise of one run, in units of the metric (field.md section 4, rule 1). */
export interface Noise {
  /** Same source, same seed: what honest workers may differ by. Judges audits. */
  readonly repeat: number;
  /** Same idea, other seeds, at least the repeat noise: what a change of code differs by without being better. */
  readonly variant: number;
  /** Repeats that were seen, beyond the first run of each group. */
  readonly repeats: number;
}

/** Two scores of the same program that lie farther apart, in σ of their difference, contradict each other. */
export const CONTRADICTION_Z = 4;
/** Farther apart than this they do not confirm each other. */
export const DOUBT_Z = 2.5;

/**
 * Noise of one run, pooled over repeats of the same thing; never from the spread of different variants.
 * @param groups scores of each thing that ran more than once; shorter ones tell nothing
 */
export function poolSigma(groups: readonly (readonly number[])[], prior: NoisePrior): number {
  let squares = prior.weight * prior.sigma ** 2;
  let degrees = prior.weight;
  for (const group of groups) {
    if (group.length < 2) continue;
    const center = mean(group);
    for (const score of group) squares += (score - center) ** 2;
    degrees += group.length - 1;
  }
  return Math.sqrt(squares / degrees);
}

/** Runs that say the same as most, and those that do not. */
export interface Split {
  readonly agreeing: readonly ScoredRun[];
  readonly odd: readonly ScoredRun[];
  /** Whether as many say one thing as another: somebody is wrong, and it is not known who. */
  readonly isOpen: boolean;
  /** Whether three workers or more all say different things: that is noise, or several are wrong. */
  readonly isScattered: boolean;
}

/**
 * Parts repeats of one program into the largest set of scores that fit together and the rest. Each worker has one
 * voice, however often it ran. Where three workers or more say three different things, none is odd: that is noise.
 * @param sigma repeat noise of one run
 */
export function splitRepeats(runs: readonly ScoredRun[], sigma: number): Split {
  const limit = CONTRADICTION_Z * Math.SQRT2 * sigma;
  const near = (run: ScoredRun) => runs.filter(({ valBpb }) => Math.abs(valBpb - run.valBpb) <= limit);
  const voices = (some: readonly ScoredRun[]) => new Set(some.map(({ endpoint }) => endpoint)).size;
  const all = voices(runs);
  if (all < 2) return { agreeing: runs, odd: [], isOpen: false, isScattered: false };
  const circles = runs.map(near).toSorted((a, b) => voices(b) - voices(a));
  const agreeing = dropFar(circles[0] ?? [], sigma);
  const most = voices(agreeing);
  if (most === 1 && all > 2) return { agreeing: runs, odd: [], isOpen: false, isScattered: true };
  const odd = runs.filter((run) => !agreeing.includes(run));
  return { agreeing, odd, isOpen: voices(odd) >= most, isScattered: false };
}

/** Leaves out of many scores that lie near one of them those that are too far from the middle of all. */
function dropFar(runs: readonly ScoredRun[], sigma: number): readonly ScoredRun[] {
  const scores = groupBy(runs, ({ endpoint }) => endpoint).map((own) => mean(toScores(own)));
  if (scores.length < TELLING_VOICES) return runs;
  const limit = CONTRADICTION_Z * sigma * Math.sqrt(1 + 1 / (scores.length - 1));
  const center = median(scores);
  return runs.filter(({ valBpb }) => Math.abs(valBpb - center) <= limit);
}

/** So many workers have a middle that one of them does not move far. */
const TELLING_VOICES = 4;

/** A list of runs → what was estimated from it: one decision asks for the same many times. */
const recall = rememberPer<readonly ScoredRun[], Map<string, Noise>>();

/**
 * Estimates the noise of a lineage from its repeats. A score that a liar gave would widen it: what contradicts the
 * others of its group is left out.
 * @param runs never changed after this @param tier only of this one; absent: over all tiers
 */
export function estimateNoise(runs: readonly ScoredRun[], prior: NoisePrior, tier?: string): Noise {
  const key = `${tier ?? ''} ${prior.sigma} ${prior.weight}`;
  const estimates = recall(runs, () => new Map());
  const noise =
    estimates.get(key) ?? estimate(tier === undefined ? runs : runs.filter((run) => run.tier === tier), prior);
  estimates.set(key, noise);
  return noise;
}

function estimate(runs: readonly ScoredRun[], prior: NoisePrior): Noise {
  const counting = runs.filter(doesCount);
  const repeated = groupBy(counting, ({ variantHash, tier, dataHash }) => `${variantHash} ${tier} ${dataHash}`);
  // What one worker says twice is its noise, whatever it is; by that the words of different workers are compared.
  const own = repeated.flatMap((group) => groupBy(group, ({ endpoint }) => endpoint)).map(toScores);
  const repeatPrior = { ...prior, sigma: REPEAT_SHARE * prior.sigma };
  const base = poolSigma(own, repeatPrior);
  const agreed = repeated
    .map((group) => splitRepeats(group, base))
    .filter(({ isOpen }) => !isOpen)
    .map(({ agreeing }) => toScores(agreeing));
  const repeats = dropContradictions(agreed, repeatPrior);
  const repeat = poolSigma(repeats, repeatPrior);
  const reseeded = groupBy(
    counting.filter(({ seed }) => seed !== null),
    ({ family, tier, dataHash }) => `${family} ${tier} ${dataHash}`,
  ).map((group) => groupBy(group, ({ seed }) => seed ?? '').map((same) => mean(toScores(same))));
  const seeded = dropContradictions(reseeded, prior);
  return {
    repeat,
    variant: Math.max(poolSigma(seeded, prior), countRepeats(repeats) > 0 ? repeat : 0),
    repeats: countRepeats(repeats) + countRepeats(seeded),
  };
}

/** Before it was measured: what does not come from the seed is the smaller part of the noise. */
const REPEAT_SHARE = 0.5;
/** From so many groups on their usual spread is known without the prior. */
const TELLING_GROUPS = 5;

/**
 * Leaves out groups that lie much farther apart than most: what a liar says beside the truth would pass for noise, and
 * with more of it everything would be noise.
 */
function dropContradictions(groups: readonly (readonly number[])[], prior: NoisePrior): (readonly number[])[] {
  const several = groups.filter(({ length }) => length > 1);
  const center = median(several.map(findDeviation));
  const usual = several.length < TELLING_GROUPS ? Math.max(prior.sigma, center || 0) : center;
  return several.filter((group) => Math.max(...group) - Math.min(...group) <= 3 * Math.SQRT2 * usual);
}

/** Deviation of one score, from those of a group. */
function findDeviation(scores: readonly number[]): number {
  const center = mean(scores);
  return Math.sqrt(scores.reduce((sum, score) => sum + (score - center) ** 2, 0) / (scores.length - 1));
}

function toScores(runs: readonly ScoredRun[]): number[] {
  return runs.map(({ valBpb }) => valBpb);
}

function countRepeats(groups: readonly (readonly number[])[]): number {
  return groups.reduce((sum, group) => sum + group.length - 1, 0);
}

/** What the best of n draws of pure noise lies below their mean, in σ: measured points of field.md section 4, rule 7. */
const LUCK = [
  [1, 0],
  [2, 0.564],
  [3, 0.846],
  [5, 1.163],
  [10, 1.54],
  [30, 2.04],
  [100, 2.51],
  [300, 2.88],
  [1000, 3.24],
] as const;

/**
 * The gain over the baseline that mere luck would give after so many runs, in σ of one run. Between the points on the
 * logarithm of n; beyond them it grows as slowly as between the last two.
 */
export function expectLuck(runs: number): number {
  const n = Math.max(1, runs);
  let index = LUCK.findIndex(([at]) => at >= n);
  if (index === 0) return 0;
  if (index === -1) index = LUCK.length - 1;
  const [low, high] = [LUCK[index - 1] ?? LUCK[0], LUCK[index] ?? LUCK[0]];
  const share = Math.log(n / low[0]) / Math.log(high[0] / low[0]);
  return low[1] + share * (high[1] - low[1]);
}
