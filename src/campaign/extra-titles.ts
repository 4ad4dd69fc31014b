import { barOf, compareRuns, countVoicesNeeded, findSelecting, isShown, isWouldBe, listVoices } from './confirm.ts';
import { listDiscredited, listProven } from './credit.ts';
import { groupBy, type ScoredRun } from './evidence.ts';
import {
  countWorkersWorth,
  type Extra,
  type ExtraFacts,
  findHolder,
  isAlone,
  isOpen,
  pickSeed,
  repeatsOf,
} from './extra-facts.ts';
import { canWait } from './extra-wait.ts';
import { estimateFrom, type FamilyEvidence, findHomeTier, gatherEvidence } from './family.ts';
import { KEEP_Z, RETEST_Z } from './judge.ts';
import { rankFindings } from './prospects.ts';

/** Fresh runs of one idea that are made for its title while they do not decide. */
const MAX_FRESH_RUNS = 5;
const MAX_TRIES = 5;
/** So many confirmations may be left for a better finding before one of them is ended. */
const MAX_BEGUN = 6;
/** How often a score that is too close to call is asked for again. */
const MAX_RETESTS = 2;
/** Seeds of a champion, so that not its luck but that of the candidates decides. */
const CHAMPION_SEEDS = 2;
/** So many rounds have to be left for the champion's further runs to pay off. */
const WORTH_REPEATING_ROUNDS = 10;
/** So many scored runs tell which tiers there are, and on which of them the champion should be known well. */
const TELLING_RUNS = 8;

/** Runs of this loop that may have found something. */
function listProposals({ runs, loopId }: ExtraFacts): ScoredRun[] {
  return runs.filter((run) => run.loopId === loopId && (run.role === 'round' || run.role === 'retest'));
}

export function planConfirmations(facts: ExtraFacts): Extra[] {
  const holder = findHolder(facts);
  if (!holder) return [];
  const theirs = estimateFrom(gatherEvidence(holder, facts.runs, facts.task));
  const discredited = listDiscredited(facts.runs, facts.task.noisePrior);
  const gains = new Map(rankFindings(facts).map(({ run, gain }) => [run.family, gain]));
  const wouldBe = listProposals(facts).filter((run) => isWouldBe(run, holder) && !discredited.has(run.endpoint));
  const plans = groupBy(wouldBe, ({ family }) => family)
    .flatMap(([run]) => (run ? [findSelecting(run, facts.runs)] : []))
    .map((run) => ({ run, gain: gains.get(run.family) ?? compareRuns([run], theirs, facts)?.delta ?? 0 }))
    .toSorted((a, b) => b.gain - a.gain || a.run.valBpb - b.run.valBpb)
    .map(({ run, gain }) => ({ run, gain, orders: planConfirmation(facts, run, theirs) }));
  // One title, one candidate: the others have to beat the new champion, or be tried on top of it. Where better ones are
  // found all the time, none would ever be decided about: at last the best of those that were begun is.
  const isLeft = ({ run, orders }: (typeof plans)[number]) => orders.length > 0 || isAsked(facts, run);
  const begun = plans.filter((plan) => isLeft(plan) && isBegun(facts, plan.run));
  const first = begun.length < MAX_BEGUN ? plans.find(isLeft) : begun[0];
  if (!first) return [];
  const found = plans.filter(({ orders }) => orders.length > 0).map(({ run }) => run.updatedAtMs);
  const sinceMs = Math.max(facts.titles.at(-1)?.createdAtMs ?? 0, Math.min(...found));
  // What is found on top of much would be more than one step may bring.
  const isMuch = first.gain > facts.task.maxGain / 2;
  return isBegun(facts, first.run) || isMuch || !canWait(facts, first.run, sinceMs) ? first.orders : [];
}

function isBegun(facts: ExtraFacts, { experimentId }: ScoredRun): boolean {
  return repeatsOf(facts, experimentId, 'confirmation').length > 0;
}

/** Whether a confirmation of it is under way. */
function isAsked(facts: ExtraFacts, { experimentId }: ScoredRun): boolean {
  return repeatsOf(facts, experimentId, 'confirmation').some(isOpen);
}

function planConfirmation(facts: ExtraFacts, run: ScoredRun, champion: readonly ScoredRun[]): Extra[] {
  const tries = repeatsOf(facts, run.experimentId, 'confirmation');
  const isStuck = tries.some(({ state, reason }) => state === 'refused' && reason?.code === 'over_budget');
  if (isStuck || tries.length >= MAX_TRIES) return [];
  const open = tries.filter(isOpen);
  // While there is time, what those under way say may make the next one needless.
  if (open.length > 0 && facts.patience > 0) return [];
  const evidence = gatherEvidence(run, facts.runs, facts.task);
  const next: Extra = {
    role: 'confirmation',
    of: run.experimentId,
    key: `confirm-${run.experimentId}-${tries.length + 1}`,
    seed: null,
    worker: null,
  };
  const voices = listVoices(evidence);
  if (tries.some(isAlone)) {
    if (open.length > 0 || evidence.fresh.length > 0 || tries.filter(isAlone).length > 1) return [];
    const seed = pickSeed(run, facts.runs, champion);
    return seed === null ? [] : [{ ...next, seed, worker: run.endpoint }];
  }
  const wanted = countFurther(facts, evidence, champion) - open.length;
  if (wanted <= 0) return [];
  const isSame = ({ variantHash }: { readonly variantHash: string }) => variantHash === run.variantHash;
  const seed = pickSeed(run, facts.runs, champion, open.filter((other) => !isSame(other)).length);
  // The very same program first: only of that can it be told who lies.
  if ([...voices, ...open].some(isSame)) return [{ ...next, seed }];
  return wanted === 1 ? [next] : [next, { ...next, seed, key: `confirm-${run.experimentId}-${tries.length + 2}` }];
}

/** How many more fresh runs a title waits for. */
function countFurther(facts: ExtraFacts, evidence: FamilyEvidence, champion: readonly ScoredRun[]): number {
  const { fresh, selecting, isDisputed, isSplit } = evidence;
  const missing = Math.max(0, countVoicesNeeded(facts) - listVoices(evidence).length);
  if (fresh.length === 0) {
    // It was found beside the champion of its time.
    const found = compareRuns([selecting], champion, facts)?.z;
    if (found === undefined) return isNewer(selecting, champion) ? missing : 0;
    if (selecting.verdict !== 'KEEP-SIMPLER' && found < RETEST_Z) return 0;
    return found < KEEP_Z ? Math.min(1, missing) : missing;
  }
  if (isDisputed || fresh.length >= MAX_FRESH_RUNS) return 0;
  if (isSplit) return 1;
  const z = compareRuns(fresh, champion, facts)?.z;
  // Once more may find a worker of the champion's tier; a champion of another tier since then will not be met.
  if (z === undefined) return fresh.length < 2 && isNewer(selecting, champion) ? 1 : 0;
  if (z < barOf(selecting) - 1) return 0;
  return isShown(facts, evidence, champion) ? missing : Math.max(1, missing);
}

function isNewer(run: ScoredRun, champion: readonly ScoredRun[]): boolean {
  return champion.every(({ createdAtMs }) => createdAtMs <= run.createdAtMs);
}

/** The newest runs of the loop whose score is too close to call and whose idea nothing has decided since. */
function listUndecided(facts: ExtraFacts): ScoredRun[] {
  const decided = new Set(
    facts.runs
      .filter((run) => run.verdict.startsWith('KEEP') || run.verdict === 'BASELINE')
      .map(({ family }) => family),
  );
  const discredited = listDiscredited(facts.runs, facts.task.noisePrior);
  return facts.runs.filter(
    (run) =>
      run.loopId === facts.loopId &&
      run.role === 'round' &&
      run.verdict === 'RETEST' &&
      !decided.has(run.family) &&
      !discredited.has(run.endpoint),
  );
}

/** A score too close to call is asked for again; where a run gives the same digits always, with another seed. */
export function planRetests(facts: ExtraFacts): Extra[] {
  const holder = findHolder(facts);
  const { kind } = facts.task.budgetRule;
  const theirs = holder ? estimateFrom(gatherEvidence(holder, facts.runs, facts.task)) : [];
  const proven = listProven(facts.runs, facts.task.noisePrior);
  return listUndecided(facts).flatMap((run): Extra[] => {
    const tries = repeatsOf(facts, run.experimentId, 'retest');
    if (tries.some(isOpen) || tries.length >= MAX_RETESTS) return [];
    const { fresh } = gatherEvidence(run, facts.runs, facts.task);
    // The champion may be another one by now, or known better.
    const z = compareRuns(fresh.length > 0 ? fresh : [run], theirs, facts)?.z;
    if (z === undefined || z < RETEST_Z || canWait(facts, run, run.updatedAtMs)) return [];
    // Whoever has not been confirmed by anybody may have made the score up: first it is seen whether it is true.
    const isChecked = proven.has(run.endpoint) || tries.length > 0 || countWorkersWorth(facts) === 0;
    const seed = isChecked ? pickSeed(run, facts.runs, theirs) : null;
    const isRepeatable = kind === 'seconds' || kind === 'unknown';
    if (isChecked && seed === null && (!isRepeatable || tries.length > 0)) return [];
    const key = `retest-${run.experimentId}${tries.length === 0 ? '' : `-${tries.length + 1}`}`;
    return [{ role: 'retest', of: run.experimentId, key, seed, worker: null }];
  });
}

/** Runs of the champion itself: with further seeds, and on tiers on which ideas ran but it did not. */
export function planReferences(facts: ExtraFacts): Extra[] {
  const holder = findHolder(facts);
  if (!holder || holder.loopId !== facts.loopId) return [];
  const tries = repeatsOf(facts, holder.experimentId, 'retest');
  if (tries.some(isOpen)) return [];
  const theirs = estimateFrom(gatherEvidence(holder, facts.runs, facts.task));
  const reference: Extra = {
    role: 'retest',
    of: holder.experimentId,
    key: `reference-${holder.experimentId}-${tries.length + 1}`,
    seed: null,
    worker: null,
  };
  // What ran before this champion was found is not worth a run any more.
  const foreign = listUndecided(facts).filter(
    (run) =>
      run.createdAtMs > holder.createdAtMs &&
      theirs.every(({ tier }) => tier !== run.tier) &&
      repeatsOf(facts, run.experimentId, 'retest').length === 0,
  );
  const [most] = groupBy(foreign, ({ tier }) => tier).toSorted((a, b) => b.length - a.length);
  const host = most?.at(-1);
  if (host && tries.every(({ workerRequest }) => workerRequest !== host.endpoint))
    return [{ ...reference, worker: host.endpoint }];
  const left = facts.rounds - facts.experiments.filter(({ role }) => role === 'round').length;
  const home = findHomeTier(theirs, facts.runs);
  const seeds = new Set(theirs.filter(({ tier }) => tier === home).map(({ seed }) => seed)).size;
  const isWorth = left >= WORTH_REPEATING_ROUNDS && facts.runs.length >= TELLING_RUNS;
  const isDue = isWorth && seeds < CHAMPION_SEEDS && tries.length < 2 * CHAMPION_SEEDS;
  const seed = isDue ? pickSeed(holder, facts.runs, []) : null;
  return seed === null ? [] : [{ ...reference, seed }];
}
