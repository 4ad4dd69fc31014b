import { rememberPer } from '../base/memo.ts';
import type { Task } from '../experiment/task-schema.ts';
import { listDiscredited } from './credit.ts';
import { doesCount, groupBy, mean, type ScoredRun } from './evidence.ts';
import { estimateNoise, splitRepeats } from './noise.ts';
import { isIndependent } from './party.ts';

/** Runs of one idea, parted by what they may be used for. */
export interface FamilyEvidence {
  /** The run by which the variant was found. */
  readonly selecting: ScoredRun;
  /** Runs that nothing contradicts, the selecting one among them. */
  readonly sound: readonly ScoredRun[];
  /** Those that did not select it, from another party or with another seed: what the estimate is made of. */
  readonly fresh: readonly ScoredRun[];
  /** Whether workers contradict each other and it is not known who is wrong. */
  readonly isDisputed: boolean;
  /** Whether fresh runs are farther apart than luck brings them and most of them do not say the same. */
  readonly isSplit: boolean;
  /** Whether somebody was caught in the lineage, so that others may lie, too. */
  readonly isWary: boolean;
}

/** Fresh runs have to fit together closer than those that contradict each other: three deviations, not four. */
const SEED_SHARE = 0.75;
/** Times the noise that the task expects. */
const MOST_NOISE = 1.5;

/** A list of runs → one of them → what was gathered about it: one decision asks for the same many times. */
const recall = rememberPer<readonly ScoredRun[], (run: ScoredRun, make: () => FamilyEvidence) => FamilyEvidence>();

/** Gathers what is known of the idea behind a run. @param runs of one lineage, never changed after this */
export function gatherEvidence(selecting: ScoredRun, runs: readonly ScoredRun[], task: Task): FamilyEvidence {
  const recallFamily = recall(runs, () => rememberPer());
  return recallFamily(selecting, () => findEvidence(selecting, runs, task));
}

/** A list of runs → its ideas: to look through all runs for each of them takes longer the more there are. */
const recallFamilies = rememberPer<readonly ScoredRun[], ReadonlyMap<string, readonly ScoredRun[]>>();

function mapFamilies(runs: readonly ScoredRun[]): ReadonlyMap<string, readonly ScoredRun[]> {
  return new Map(groupBy(runs, ({ family }) => family).map((own) => [own[0]?.family ?? '', own]));
}

function findEvidence(selecting: ScoredRun, runs: readonly ScoredRun[], task: Task): FamilyEvidence {
  const { repeat } = estimateNoise(runs, task.noisePrior);
  const discredited = listDiscredited(runs, task.noisePrior);
  const isHeard = (run: ScoredRun) => doesCount(run) && !discredited.has(run.endpoint);
  const families = recallFamilies(runs, () => mapFamilies(runs));
  const same = (families.get(selecting.family) ?? []).filter((run) => isHeard(run) || run === selecting);
  // Only the very same program repeats itself; other seeds differ honestly.
  const splits = groupBy(same, ({ variantHash, tier, dataHash }) => `${variantHash} ${tier} ${dataHash}`).map((group) =>
    splitRepeats(group, repeat),
  );
  const isDisputed = splits.some(({ isOpen }) => isOpen);
  const odd = new Set(splits.filter(({ isOpen }) => !isOpen).flatMap((split) => split.odd));
  const sound = same.filter((run) => !odd.has(run));
  const others = sound.filter(
    (run) =>
      isHeard(run) &&
      run.experimentId !== selecting.experimentId &&
      (isIndependent(run, selecting) || (run.seed !== null && run.seed !== selecting.seed)),
  );
  // Seeds differ, too, but not beyond their own noise. Lies would widen it: to ask one worker more is cheaper.
  const most = MOST_NOISE * task.noisePrior.sigma;
  const seeds = groupBy(others, ({ tier, dataHash }) => `${tier} ${dataHash}`).map((group) =>
    splitRepeats(group, SEED_SHARE * Math.min(estimateNoise(runs, task.noisePrior, group[0]?.tier).variant, most)),
  );
  const far = new Set(seeds.filter(({ isOpen }) => !isOpen).flatMap((split) => split.odd));
  const fresh = others.filter((run) => !far.has(run));
  const isSplit = seeds.some(({ isOpen, isScattered }) => isOpen || isScattered);
  return { selecting, sound, fresh, isDisputed, isSplit, isWary: discredited.size > 0 };
}

/** The runs that a variant's score is estimated from: fresh ones where there are any, since selection flatters. */
export function estimateFrom(evidence: FamilyEvidence): readonly ScoredRun[] {
  const { selecting, sound, fresh, isWary } = evidence;
  const all = selecting.verdict === 'BASELINE' ? sound : fresh;
  const middle = isWary ? groupBy(all, ({ tier }) => tier).flatMap(dropExtremes) : all;
  if (middle.length < all.length) return middle;
  if (selecting.verdict === 'BASELINE') return sound.length > 0 ? sound : [selecting];
  // The same seed brings the same luck, by which the variant was found, on every machine.
  const redrawn = fresh.filter(({ seed }) => seed !== selecting.seed);
  if (new Set(redrawn.map(({ seed }) => seed)).size >= MIN_REDRAWN) return redrawn;
  return fresh.length > 0 ? fresh : [selecting];
}

/**
 * Leaves out of runs on one tier the party that speaks most for a variant, which is where a lie would be, and of five or
 * more also the one that speaks most against it.
 */
function dropExtremes(runs: readonly ScoredRun[]): readonly ScoredRun[] {
  const parties = groupBy(runs, ({ endpoint }) => endpoint).map((own) => ({
    own,
    score: mean(own.map(({ valBpb }) => valBpb)),
  }));
  if (parties.length < 3) return runs;
  return parties
    .toSorted((a, b) => a.score - b.score)
    .slice(1, parties.length < 5 ? undefined : -1)
    .flatMap(({ own }) => own);
}

/** So many other seeds are an estimate without the one that found the variant. */
const MIN_REDRAWN = 2;

/** Those of one tier, of which there are most: scores of tiers have no common mean. */
export function onMainTier(runs: readonly ScoredRun[]): readonly ScoredRun[] {
  return groupBy(runs, ({ tier }) => tier).toSorted((a, b) => b.length - a.length)[0] ?? [];
}

/** Of the tiers on which a champion ran the one that most workers have: there it is easily compared. */
export function findHomeTier(champion: readonly ScoredRun[], runs: readonly ScoredRun[]): string | null {
  const tiers = groupBy(champion, ({ tier }) => tier).map(([run]) => run?.tier ?? '');
  const count = (tier: string) => new Set(runs.filter((run) => run.tier === tier).map(({ endpoint }) => endpoint)).size;
  return (
    tiers.map((tier) => ({ tier, workers: count(tier) })).toSorted((a, b) => b.workers - a.workers)[0]?.tier ?? null
  );
}
