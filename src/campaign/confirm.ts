import type { Task } from '../experiment/task-schema.ts';
import { type Comparison, compareScores } from './compare.ts';
import { doesCount, groupBy, mean, type ScoredRun } from './evidence.ts';
import { CONFIRM_Z, KEEP_Z, RETEST_Z } from './judge.ts';
import { estimateNoise, splitRepeats } from './noise.ts';
import { isIndependent } from './party.ts';
import type { Title, TitleChange } from './titles.ts';

/** A lineage as its titles are decided from: pure data. */
export interface TitleFacts {
  readonly task: Task;
  /** Loop of the title; null: experiments outside loops. */
  readonly loopId: string | null;
  /** Scored runs of the whole lineage, oldest first. */
  readonly runs: readonly ScoredRun[];
  /** The scope's titles, oldest first. */
  readonly titles: readonly Title[];
  /** Runs that selected a variant which nobody else can confirm. */
  readonly unconfirmable: ReadonlySet<string>;
}

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
}

/** Gathers what is known of the idea behind a run. */
export function gatherEvidence(selecting: ScoredRun, runs: readonly ScoredRun[], task: Task): FamilyEvidence {
  const { repeat } = estimateNoise(runs, task.noisePrior);
  const same = runs.filter((run) => run.family === selecting.family && (doesCount(run) || run === selecting));
  // Only the very same program repeats itself; other seeds differ honestly.
  const splits = groupBy(same, ({ variantHash, tier, dataHash }) => `${variantHash} ${tier} ${dataHash}`).map((group) =>
    splitRepeats(group, repeat),
  );
  const isDisputed = splits.some(({ isOpen }) => isOpen);
  const odd = new Set(splits.filter(({ isOpen }) => !isOpen).flatMap((split) => split.odd));
  const sound = same.filter((run) => !odd.has(run));
  const fresh = sound.filter(
    (run) =>
      doesCount(run) &&
      run.experimentId !== selecting.experimentId &&
      (isIndependent(run, selecting) || (run.seed !== null && run.seed !== selecting.seed)),
  );
  return { selecting, sound, fresh, isDisputed };
}

/** The runs that a variant's score is estimated from: fresh ones where there are any, since selection flatters. */
export function estimateFrom(evidence: FamilyEvidence): readonly ScoredRun[] {
  if (evidence.selecting.verdict === 'BASELINE') return evidence.sound;
  return evidence.fresh.length > 0 ? evidence.fresh : [evidence.selecting];
}

/** How a variant stands against another; null where they have no run on a common tier. */
export function compareRuns(
  own: readonly ScoredRun[],
  other: readonly ScoredRun[],
  { runs, task }: Pick<TitleFacts, 'runs' | 'task'>,
): Comparison | null {
  const [tier] = groupBy(
    own.filter((run) => other.some((peer) => peer.tier === run.tier)),
    (run) => run.tier,
  ).toSorted((a, b) => b.length - a.length);
  const name = tier?.[0]?.tier;
  if (!tier || name === undefined) return null;
  const noise = estimateNoise(runs, task.noisePrior, name);
  const peers = other.filter((run) => run.tier === name);
  return compareScores(tier, peers, noise.variant, task.noisePrior);
}

/** Verdicts of runs whose variant may become champion. */
export function isWouldBe(run: ScoredRun, champion: ScoredRun | undefined): boolean {
  if (run.family === champion?.family) return false;
  if (run.verdict === 'KEEP' || run.verdict === 'KEEP-SIMPLER') return true;
  // Too good for one step, yet nothing else is wrong with it: who else gets the same decides.
  return run.verdict === 'SUSPECT' && run.isTooGood === true;
}

/**
 * Decides what becomes of a title; null: nothing. Asked again after every change until it says so. A title is won on
 * fresh runs alone (field.md section 4, rule 4) and given back when later ones speak against it.
 */
export function decideTitle(facts: TitleFacts): TitleChange | null {
  const holder = facts.titles.at(-1);
  if (!holder) return crownBaseline(facts);
  const selecting = facts.runs.find(({ experimentId }) => experimentId === holder.experimentId);
  if (!selecting) return null;
  const own = gatherEvidence(selecting, facts.runs, facts.task);
  return reviewHolder(facts, holder, own) ?? findSuccessor(facts, own);
}

function crownBaseline({ runs, loopId }: TitleFacts): TitleChange | null {
  // Outside loops everything of the lineage counts, whichever loop ran it.
  const first = runs.find((run) => run.verdict === 'BASELINE' && (loopId === null || run.loopId === loopId));
  return first ? { ...pick(first), verified: false, cause: 'baseline' } : null;
}

function pick({ experimentId, variantHash }: ScoredRun): Pick<TitleChange, 'experimentId' | 'variantHash'> {
  return { experimentId, variantHash };
}

/** Whether the holder is confirmed by now, or has to give the title back. */
function reviewHolder(facts: TitleFacts, holder: Title, own: FamilyEvidence): TitleChange | null {
  const { selecting, fresh, isDisputed } = own;
  const confirm = { ...pick(selecting), verified: true, cause: 'verified' } as const;
  if (selecting.verdict === 'BASELINE') {
    // It claims no gain: that somebody else gets the same is all there is to confirm.
    const others = fresh.filter((run) => run.variantHash === selecting.variantHash);
    return !holder.verified && others.length > 0 && !isDisputed && own.sound.includes(selecting) ? confirm : null;
  }
  if (fresh.length === 0) return null;
  const before = findPredecessor(facts, holder, selecting);
  if (!before) return null;
  const comparison = compareRuns(fresh, estimateFrom(before.evidence), facts);
  if (!comparison) return null;
  if (comparison.z < floorOf(selecting))
    return { ...pick(before.evidence.selecting), verified: before.title.verified, cause: 'rolled_back' };
  return !holder.verified && !isDisputed && comparison.z >= barOf(selecting) ? confirm : null;
}

/** The newest champion before this one that is another variant. */
function findPredecessor({ titles, runs, task }: TitleFacts, holder: Title, selecting: ScoredRun) {
  const crowned = titles.find(({ variantHash }) => variantHash === holder.variantHash)?.seq ?? holder.seq;
  for (const title of titles.filter(({ seq }) => seq < crowned).toReversed()) {
    const run = runs.find(({ experimentId }) => experimentId === title.experimentId);
    if (run && run.family !== selecting.family) return { title, evidence: gatherEvidence(run, runs, task) };
  }
  return undefined;
}

/** What fresh runs have to show for a title: a gain, or no loss where the gain is in the code. */
export function barOf({ verdict }: ScoredRun): number {
  return verdict === 'KEEP-SIMPLER' ? -RETEST_Z : CONFIRM_Z;
}

/** Below this later evidence takes a title away: lower than the bar, so that noise does not pass it to and fro. */
function floorOf({ verdict }: ScoredRun): number {
  return verdict === 'KEEP-SIMPLER' ? -KEEP_Z : RETEST_Z;
}

/** The best would-be champion that has earned the title. */
function findSuccessor(facts: TitleFacts, holder: FamilyEvidence): TitleChange | null {
  const theirs = estimateFrom(holder);
  const earned = facts.runs.flatMap((run) => {
    if (run.loopId !== facts.loopId || !isWouldBe(run, holder.selecting) || isExtra(run)) return [];
    const own = gatherEvidence(run, facts.runs, facts.task);
    if (own.isDisputed) return [];
    if (own.fresh.length > 0) {
      const comparison = compareRuns(own.fresh, theirs, facts);
      return comparison && comparison.z >= barOf(run) ? [{ run, runs: own.fresh, verified: true }] : [];
    }
    const isAlone = facts.loopId === null || facts.unconfirmable.has(run.experimentId);
    const comparison = isAlone && run.verdict !== 'SUSPECT' ? compareRuns([run], theirs, facts) : null;
    const bar = run.verdict === 'KEEP-SIMPLER' ? -RETEST_Z : KEEP_Z;
    return comparison && comparison.z >= bar ? [{ run, runs: [run], verified: false }] : [];
  });
  const scoreOf = ({ runs }: (typeof earned)[number]) => mean(runs.map(({ valBpb }) => valBpb));
  const [best] = earned.toSorted((a, b) => Number(b.verified) - Number(a.verified) || scoreOf(a) - scoreOf(b));
  if (!best) return null;
  return { ...pick(best.run), verified: best.verified, cause: best.verified ? 'confirmed' : 'unconfirmed' };
}

/** Runs that repeat others never select anything, but a retest may, and what a caller submits always. */
function isExtra({ role }: ScoredRun): boolean {
  return role === 'confirmation' || role === 'audit' || role === 'canary';
}
