import type { Task } from '../experiment/task-schema.ts';
import { compareRuns } from './confirm.ts';
import { listProven } from './credit.ts';
import { doesCount, type ScoredRun } from './evidence.ts';
import { findHolder } from './extra-facts.ts';
import { estimateFrom, type FamilyEvidence, gatherEvidence } from './family.ts';
import { estimateNoise } from './noise.ts';
import type { Title } from './titles.ts';

/** An idea of a loop beside its champion. */
export interface Prospect {
  /** The run that found it. */
  readonly run: ScoredRun;
  /** Expected true gain over the champion, in units of the metric: of what was measured, luck is taken off. */
  readonly gain: number;
  /** The part of it by which it is expected to be better than what it was made from. */
  readonly ownGain: number;
}

/** What a loop has found, whoever says so. */
interface Finding extends Prospect {
  /** Whether it can be built on: nobody contradicts it, and the word of those who say it is enough. */
  readonly isVouchedFor: boolean;
}

/** A loop as its prospects follow from it: pure data. */
export interface ProspectFacts {
  readonly task: Task;
  readonly loopId: string;
  /** Scored runs of the whole lineage, oldest first. */
  readonly runs: readonly ScoredRun[];
  readonly titles: readonly Title[];
}

/** What a change brings before it has run, in σ of one run: rather a loss, and mostly no more than a few σ. */
const EXPECTED = { mean: -0.5, deviation: 2 } as const;
/** Large effects are rarer than that but no luck: measured ones count as expected once they are so many deviations. */
const SURPRISE = 2;

/** What of {@link rankFindings} somebody vouches for and nobody contradicts, best first. */
export function rankProspects(facts: ProspectFacts): readonly Prospect[] {
  return rankFindings(facts).filter(({ isVouchedFor }) => isVouchedFor);
}

/**
 * Ranks what a loop has found by its expected gain over the champion, best first. The best of many scores is the luckiest
 * one, too; so each score is drawn towards what was to be expected before the run: a little less than the gain of what
 * the idea was made from.
 */
export function rankFindings(facts: ProspectFacts): readonly Finding[] {
  const { runs, task, loopId } = facts;
  const holder = findHolder(facts);
  if (!holder) return [];
  const champion = estimateFrom(gatherEvidence(holder, runs, task));
  const familyOf = mapFamilies(runs);
  const isVouchedFor = findVouched(facts);
  const gains = new Map([[holder.family, 0]]);
  const findings: Finding[] = [];
  for (const run of runs) {
    if (run.loopId !== loopId || run.role !== 'round' || !doesCount(run) || gains.has(run.family)) continue;
    const evidence = gatherEvidence(run, runs, task);
    const measured = compareRuns(estimateFrom(evidence), champion, facts);
    if (!measured) continue;
    const sigma = estimateNoise(runs, task.noisePrior, run.tier).variant;
    const parent = gains.get(familyOf(run.parentVariantHash)) ?? 0;
    const expected = parent + EXPECTED.mean * sigma;
    const surprise = measured.delta - expected;
    const deviation = Math.max(EXPECTED.deviation * sigma, Math.abs(surprise) / SURPRISE);
    const gain = expected + surprise / (1 + (measured.error / deviation) ** 2);
    gains.set(run.family, gain);
    findings.push({ run, gain, ownGain: gain - parent, isVouchedFor: isVouchedFor(evidence) });
  }
  return findings.toSorted((a, b) => b.gain - a.gain);
}

/** The prospect to build on rather than on the champion, if there is one. */
export function findLeader(prospects: readonly Prospect[]): Prospect | undefined {
  return prospects.find(({ gain }) => gain > 0);
}

/**
 * Ideas that are expected to help and are not in what is built on, since another one was ahead: worth a try on top of it.
 * Those that help most where they were tried come first.
 */
export function listMissed(facts: ProspectFacts, prospects: readonly Prospect[]): readonly Prospect[] {
  const { runs } = facts;
  const base = findLeader(prospects)?.run ?? findHolder(facts);
  const familyOf = mapFamilies(runs);
  const variants = new Set<string>();
  const made = new Set<string>();
  for (let run = base; run && !variants.has(run.variantHash); ) {
    variants.add(run.variantHash);
    made.add(run.family);
    const parent = run.parentVariantHash;
    const same = runs.filter(({ variantHash }) => variantHash === parent);
    // Repeats do not tell what the program was made from.
    run = same.find(({ parentVariantHash }) => parentVariantHash !== null) ?? same[0];
  }
  return prospects
    .filter(
      ({ run, ownGain }) =>
        ownGain > 0 && !made.has(run.family) && familyOf(run.parentVariantHash) !== (base?.family ?? ''),
    )
    .toSorted((a, b) => b.ownGain - a.ownGain);
}

/** Variant → the program that all its seeds share; '' for what did not run. */
function mapFamilies(runs: readonly ScoredRun[]): (variantHash: string | null) => string {
  const families = new Map(runs.map(({ variantHash, family }) => [variantHash, family]));
  return (variantHash) => families.get(variantHash ?? '') ?? '';
}

/** Tells whose word about an idea is enough: after the first lie somebody else has to have said the same. */
function findVouched({ runs, task }: ProspectFacts): (evidence: FamilyEvidence) => boolean {
  const proven = listProven(runs, task.noisePrior);
  return ({ selecting, fresh, isDisputed, isSplit, isWary }) => {
    if (isDisputed || isSplit) return false;
    return fresh.length > 0 || (!isWary && (proven.size === 0 || proven.has(selecting.endpoint)));
  };
}
