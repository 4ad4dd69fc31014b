import { rememberPer } from '../base/memo.ts';
import type { Task } from '../experiment/task-schema.ts';
import { type Comparison, compareScores } from './compare.ts';
import { listDiscredited } from './credit.ts';
import { groupBy, mean, type ScoredRun } from './evidence.ts';
import { estimateFrom, type FamilyEvidence, gatherEvidence, onMainTier } from './family.ts';
import { CONFIRM_Z, KEEP_Z, RETEST_Z } from './judge.ts';
import { estimateNoise } from './noise.ts';
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
  /** Runs for whose confirmation, or for another one, no further party was found. */
  readonly refused: ReadonlySet<string>;
}

/** From so many parties on that were seen in a lineage, two of them have to confirm a gain. */
const LARGE_MARKET = 4;

/**
 * How many other parties have to confirm a gain. Two workers may belong together under different names: where there are
 * enough others, a second one is asked that was not chosen by either.
 */
export function countVoicesNeeded({ runs, loopId, task }: Pick<TitleFacts, 'runs' | 'loopId' | 'task'>): number {
  // Outside loops nobody asks a second one.
  if (loopId === null || recallMarket(runs, () => listParties(runs).length) < LARGE_MARKET) return 1;
  // Where somebody was caught there may be more of them: of three one may lie.
  return listDiscredited(runs, task.noisePrior).size > 0 ? 3 : 2;
}

/** Fresh runs of parties other than the one that found the idea and than each other. */
export function listVoices({ fresh, selecting }: FamilyEvidence): readonly ScoredRun[] {
  return listParties(fresh.filter((run) => isIndependent(run, selecting)));
}

/** A list of runs → how many parties there are: one decision asks for the same many times. */
const recallMarket = rememberPer<readonly ScoredRun[], number>();

/** The first run of each party. */
function listParties(runs: readonly ScoredRun[]): readonly ScoredRun[] {
  const workers = groupBy(runs, ({ endpoint }) => endpoint).flatMap(([run]) => (run ? [run] : []));
  return workers.filter((run, index) => workers.slice(0, index).every((other) => isIndependent(other, run)));
}

/** How a variant stands against another; null where they have no run on a common tier. */
export function compareRuns(
  own: readonly ScoredRun[],
  other: readonly ScoredRun[],
  { runs, task }: Pick<TitleFacts, 'runs' | 'task'>,
): Comparison | null {
  const name = findCommonTier(own, other);
  if (name === undefined) return null;
  const noise = estimateNoise(runs, task.noisePrior, name);
  const on = (some: readonly ScoredRun[]) => some.filter(({ tier }) => tier === name);
  return compareScores(on(own), on(other), noise, task.noisePrior);
}

/** The tier on which both ran, and the first of them most often. */
function findCommonTier(own: readonly ScoredRun[], other: readonly ScoredRun[]): string | undefined {
  const shared = own.filter((run) => other.some((peer) => peer.tier === run.tier));
  return onMainTier(shared)[0]?.tier;
}

/** So far below the bar, in z, may noise bring what is left without the best voice. */
const DENIAL_Z = 1;

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
  return !holder.verified && !isDisputed && isConfirmed(facts, own, estimateFrom(before.evidence)) ? confirm : null;
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

/** Whether other parties, as many as are needed and to be had, confirm a gain over a champion, and it does not rest on one. */
function isConfirmed(facts: TitleFacts, own: FamilyEvidence, champion: readonly ScoredRun[]): boolean {
  if (own.isSplit || !isShown(facts, own, champion)) return false;
  // Who ran it where the champion did not has said nothing about the gain.
  const tier = findCommonTier(own.fresh, champion);
  const heard = { ...own, fresh: own.fresh.filter((run) => run.tier === tier) };
  return listVoices(heard).length >= countVoicesNeeded(facts) || facts.refused.has(own.selecting.experimentId);
}

/** Whether fresh runs show a gain, and still nearly do without the one that speaks most for it: that may be a lie. */
export function isShown(
  facts: Pick<TitleFacts, 'runs' | 'task'>,
  own: FamilyEvidence,
  champion: readonly ScoredRun[],
): boolean {
  const bar = barOf(own.selecting);
  const isAbove = (runs: readonly ScoredRun[], least: number) =>
    (compareRuns(runs, champion, facts)?.z ?? -1 / 0) >= least;
  if (!isAbove(own.fresh, bar)) return false;
  const [best, ...others] = onMainTier(own.fresh).toSorted((a, b) => a.valBpb - b.valBpb);
  const rest = others.filter(({ endpoint }) => endpoint !== best?.endpoint);
  return rest.length === 0 || isAbove(rest, bar - DENIAL_Z);
}

/** The run that found the idea of another one in the same place. */
export function findSelecting(run: ScoredRun, runs: readonly ScoredRun[]): ScoredRun {
  const first = runs.find(
    ({ family, loopId, role, verdict }) =>
      family === run.family &&
      loopId === run.loopId &&
      (role === 'round' || role === 'single') &&
      verdict !== 'INVALID',
  );
  return first ?? run;
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
  const earned = facts.runs.flatMap((found) => {
    if (found.loopId !== facts.loopId || !isWouldBe(found, holder.selecting) || isExtra(found)) return [];
    const run = findSelecting(found, facts.runs);
    // Between tiers two champions could each seem better than the other for ever.
    if (facts.titles.some(({ variantHash }) => variantHash === run.variantHash)) return [];
    const own = gatherEvidence(run, facts.runs, facts.task);
    if (own.isDisputed || own.isSplit) return [];
    if (own.fresh.length > 0) return isConfirmed(facts, own, theirs) ? [{ run, runs: own.fresh, verified: true }] : [];
    const isAlone = facts.loopId === null || facts.unconfirmable.has(run.experimentId);
    const comparison = isAlone && run.verdict !== 'SUSPECT' ? compareRuns([run], theirs, facts) : null;
    const bar = run.verdict === 'KEEP-SIMPLER' ? -RETEST_Z : KEEP_Z;
    return comparison && comparison.z >= bar ? [{ run, runs: [run], verified: false }] : [];
  });
  const scoreOf = ({ runs }: (typeof earned)[number]) => mean(onMainTier(runs).map(({ valBpb }) => valBpb));
  const [best] = earned.toSorted((a, b) => Number(b.verified) - Number(a.verified) || scoreOf(a) - scoreOf(b));
  if (!best) return null;
  return { ...pick(best.run), verified: best.verified, cause: best.verified ? 'confirmed' : 'unconfirmed' };
}

/** Runs that repeat others never select anything, but a retest may, and what a caller submits always. */
function isExtra({ role }: ScoredRun): boolean {
  return role === 'confirmation' || role === 'audit' || role === 'canary';
}
