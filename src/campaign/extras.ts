import type { Experiment } from '../experiment/experiment.ts';
import type { Task } from '../experiment/task-schema.ts';
import { barOf, compareRuns, estimateFrom, gatherEvidence, isWouldBe } from './confirm.ts';
import { doesCount, groupBy, type ScoredRun } from './evidence.ts';
import { estimateNoise, splitRepeats } from './noise.ts';
import type { Title } from './titles.ts';

/** An extra run that a loop should make. */
export interface Extra {
  readonly role: 'confirmation' | 'retest' | 'audit' | 'canary';
  /** The run that it repeats. */
  readonly of: string;
  /** Last part of its idempotency key. */
  readonly key: string;
  /** Another seed than the run's own; null: the very same program. */
  readonly seed: number | null;
  /** The worker that it is about; null: chosen as usual. */
  readonly worker: string | null;
}

/** What the extra runs of a loop are planned from: pure data. */
export interface ExtraFacts {
  readonly task: Task;
  /** All runs of the loop, oldest first. */
  readonly experiments: readonly Experiment[];
  /** Scored runs of the whole lineage, oldest first. */
  readonly runs: readonly ScoredRun[];
  readonly titles: readonly Title[];
  readonly loopId: string;
  readonly rounds: number;
  readonly auditShare: number;
  /** A number from 0 to 1 for each experiment that no worker can foresee. */
  readonly draw: (experimentId: string) => number;
  /** Workers on probation, with how often they offended. */
  readonly probation: readonly { readonly endpoint: string; readonly offences: number }[];
}

/** Reason of a repeat for which there is no second party. */
export const NO_INDEPENDENT_WORKER = 'no_independent_worker';

/** Beyond the rounds: so many extra runs at most, whatever workers say. */
const SPARE_EXTRAS = 3;
const MAX_FRESH_RUNS = 2;
const MAX_TRIES = 3;

const EXTRA_ROLES: readonly string[] = ['retest', 'confirmation', 'audit', 'canary'];

/** Whether a run is one beside the rounds. */
export function isExtraRun({ role }: { readonly role: string }): boolean {
  return EXTRA_ROLES.includes(role);
}

/**
 * Plans what is to be run again, most urgent first: would-be champions on another party's worker, scores too close to
 * call, contradictions, and the share of results that is audited. From the runs alone, so that any process comes to
 * the same plan after a crash.
 */
export function planExtras(facts: ExtraFacts): Extra[] {
  const done = facts.experiments.filter(isExtraRun).length;
  const planned = [...planConfirmations(facts), ...planRetests(facts), ...planSettlements(facts)];
  const audits = facts.auditShare > 0 ? [...planAudits(facts), ...planCanaries(facts)] : [];
  return [...planned, ...audits].slice(0, Math.max(0, facts.rounds + SPARE_EXTRAS - done));
}

function isOpen(run: Experiment): boolean {
  return run.finishedAtMs === null && run.state !== 'judged';
}

function repeatsOf({ experiments }: ExtraFacts, experimentId: string, role?: Extra['role']): Experiment[] {
  return experiments.filter((run) => run.auditOf === experimentId && (role === undefined || run.role === role));
}

function findHolder({ titles, runs }: ExtraFacts): ScoredRun | undefined {
  return runs.find(({ experimentId }) => experimentId === titles.at(-1)?.experimentId);
}

/** Runs of this loop that may have found something. */
function listProposals({ runs, loopId }: ExtraFacts): ScoredRun[] {
  return runs.filter((run) => run.loopId === loopId && (run.role === 'round' || run.role === 'retest'));
}

function planConfirmations(facts: ExtraFacts): Extra[] {
  const holder = findHolder(facts);
  if (!holder) return [];
  const theirs = estimateFrom(gatherEvidence(holder, facts.runs, facts.task));
  const wouldBe = listProposals(facts).filter((run) => isWouldBe(run, holder));
  return groupBy(wouldBe, ({ family }) => family)
    .flatMap(([run]) => (run ? [run] : []))
    .toSorted((a, b) => a.valBpb - b.valBpb)
    .flatMap((run) => planConfirmation(facts, run, theirs));
}

function planConfirmation(facts: ExtraFacts, run: ScoredRun, champion: readonly ScoredRun[]): Extra[] {
  const tries = repeatsOf(facts, run.experimentId, 'confirmation');
  const isStuck = tries.some(({ state, reason }) => state === 'refused' && reason?.code === 'over_budget');
  if (isStuck || tries.some(isOpen) || tries.length >= MAX_TRIES) return [];
  const { fresh, isDisputed } = gatherEvidence(run, facts.runs, facts.task);
  const next: Extra = {
    role: 'confirmation',
    of: run.experimentId,
    key: `confirm-${run.experimentId}-${tries.length + 1}`,
    seed: null,
    worker: null,
  };
  if (fresh.length > 0) {
    const z = compareRuns(fresh, champion, facts)?.z ?? Number.POSITIVE_INFINITY;
    const isOpenQuestion = !isDisputed && z < barOf(run) && z >= barOf(run) - 1 && fresh.length < MAX_FRESH_RUNS;
    return isOpenQuestion ? [{ ...next, seed: tries.some(isAlone) ? pickSeed(run, facts.runs, champion) : null }] : [];
  }
  if (!tries.some(isAlone)) return [next];
  const seed = pickSeed(run, facts.runs, champion);
  return seed === null || tries.filter(isAlone).length > 1 ? [] : [{ ...next, seed }];
}

function isAlone({ state, reason }: Experiment): boolean {
  return state === 'refused' && reason?.code === NO_INDEPENDENT_WORKER;
}

/** A seed of the champion that the idea has not run with, else the next number; null for a script without one. */
function pickSeed(run: ScoredRun, runs: readonly ScoredRun[], champion: readonly ScoredRun[]): number | null {
  if (run.seed === null) return null;
  const used = new Set(runs.filter(({ family }) => family === run.family).map(({ seed }) => Number(seed)));
  const shared = champion.map(({ seed }) => Number(seed ?? Number.NaN)).find((seed) => seed >= 0 && !used.has(seed));
  if (shared !== undefined) return shared;
  const highest = Math.max(0, ...[...used].filter(Number.isSafeInteger));
  return highest + 1;
}

/** Runs that selected a variant which nobody else can confirm, be it on another worker or with another seed. */
export function findUnconfirmable(experiments: readonly Experiment[], runs: readonly ScoredRun[]): Set<string> {
  const alone = experiments.filter((run) => run.role === 'confirmation' && isAlone(run));
  return new Set(
    alone.flatMap(({ auditOf }) => {
      const run = runs.find(({ experimentId }) => experimentId === auditOf);
      if (!run) return [];
      const tries = experiments.filter((other) => other.auditOf === auditOf && other.role === 'confirmation');
      const isOver = !tries.some(isOpen) && (run.seed === null || tries.length > 1);
      return isOver ? [run.experimentId] : [];
    }),
  );
}

/** A score too close to call is asked for once more; where a run gives the same digits always, with another seed. */
function planRetests(facts: ExtraFacts): Extra[] {
  const champion = findHolder(facts);
  const { kind } = facts.task.budgetRule;
  return facts.runs.flatMap((run): Extra[] => {
    const isDue = run.loopId === facts.loopId && run.role === 'round' && run.verdict === 'RETEST';
    if (!isDue || repeatsOf(facts, run.experimentId).length > 0) return [];
    const seed = pickSeed(run, facts.runs, champion ? [champion] : []);
    const isRepeatable = kind === 'seconds' || kind === 'unknown';
    if (seed === null && !isRepeatable) return [];
    return [{ role: 'retest', of: run.experimentId, key: `retest-${run.experimentId}`, seed, worker: null }];
  });
}

/** Where two workers contradict each other a third one decides. */
function planSettlements(facts: ExtraFacts): Extra[] {
  const { repeat } = estimateNoise(facts.runs, facts.task.noisePrior);
  const told = facts.runs.filter((run) => doesCount(run) || run.verdict === 'SUSPECT');
  return groupBy(told, ({ variantHash, tier, dataHash }) => `${variantHash} ${tier} ${dataHash}`).flatMap(
    (group): Extra[] => {
      const first = group.find((run) => run.loopId === facts.loopId && !isExtraRun(run));
      if (!first || !splitRepeats(group, repeat).isOpen) return [];
      const tries = repeatsOf(facts, first.experimentId);
      const audits = tries.filter(({ role }) => role === 'audit').length;
      if (tries.some(isOpen) || tries.some(isAlone) || audits >= MAX_TRIES) return [];
      const key = `settle-${first.experimentId}-${audits + 1}`;
      return [{ role: 'audit', of: first.experimentId, key, seed: null, worker: null }];
    },
  );
}

function planAudits(facts: ExtraFacts): Extra[] {
  const holder = findHolder(facts);
  return facts.runs.flatMap((run): Extra[] => {
    if (run.loopId !== facts.loopId || isExtraRun(run) || !doesCount(run) || isWouldBe(run, holder)) return [];
    const isDrawn = facts.draw(run.experimentId) < facts.auditShare;
    if (!isDrawn || repeatsOf(facts, run.experimentId).length > 0) return [];
    return [{ role: 'audit', of: run.experimentId, key: `audit-${run.experimentId}`, seed: null, worker: null }];
  });
}

/** A worker on probation is given a program whose score two others agree on. */
function planCanaries(facts: ExtraFacts): Extra[] {
  if (facts.probation.length === 0) return [];
  const { repeat } = estimateNoise(facts.runs, facts.task.noisePrior);
  const known = groupBy(facts.runs.filter(doesCount), ({ variantHash }) => variantHash)
    .map((group) => splitRepeats(group, repeat))
    .find(({ agreeing, isOpen: isDisputed }) => !isDisputed && new Set(agreeing.map((run) => run.endpoint)).size > 1);
  const [of] = known?.agreeing ?? [];
  if (!of) return [];
  return facts.probation.flatMap(({ endpoint, offences }): Extra[] => {
    if (facts.experiments.some((run) => run.role === 'canary' && run.workerRequest === endpoint)) return [];
    const key = `canary-${of.experimentId.slice(-16)}-${endpointKey(endpoint)}-${offences}`;
    return [{ role: 'canary', of: of.experimentId, key, seed: null, worker: endpoint }];
  });
}

function endpointKey(endpoint: string): string {
  return endpoint.replace(/[^A-Za-z0-9]+/g, '-').slice(-40);
}
