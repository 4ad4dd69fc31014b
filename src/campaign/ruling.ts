import { type Experiment, type Judgement, loadExperiments, type Verification } from '../experiment/experiment.ts';
import { loadTask } from '../experiment/lineage-task.ts';
import type { Task } from '../experiment/task-schema.ts';
import { loadAttempt } from '../payment/attempt.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Db, Trx } from '../store/database.ts';
import type { RunResult } from '../worker/result.ts';
import { countLines, loadChampion, settleTitle } from './champion.ts';
import { doesCount, type Evidence, isComparable, loadScoredRuns, type ScoredRun } from './evidence.ts';
import { findUnconfirmable, listAlone } from './extras.ts';
import { gatherEvidence } from './family.ts';
import { judgeRun } from './judge.ts';
import { estimateNoise, splitRepeats } from './noise.ts';
import { readTokensPerStep } from './plausibility.ts';
import { partFromSeed } from './seed.ts';
import { findTier } from './tier.ts';
import { scopeOf } from './titles.ts';

/** More than one loop ever has. */
const MAX_RUNS = 10_000;
const DATA_HASH = /^(?:sha256:)?([0-9a-f]{8,64})$/;

/**
 * Judges a run against everything that the store knows of its lineage.
 * @param wallSeconds between our sending and the answer; null when the answer came another way
 * @returns the judgement, and what is to be written in the same step: evidence and titles
 */
export async function ruleOn(
  db: Db,
  experiment: Experiment,
  run: RunResult,
  wallSeconds: number | null,
  nowMs: number,
): Promise<{ judgement: Judgement; enact: (trx: Trx) => Promise<void> }> {
  const { rootHash, experimentId } = experiment;
  const [task, source = '', champion, all, attempt] = await Promise.all([
    loadTask(db, rootHash),
    loadSource(db, experiment.trainHash),
    loadChampion(db, rootHash, experiment.loopId),
    loadScoredRuns(db, { rootHash, scope: scopeOf(experiment) }),
    loadAttempt(db, experimentId, experiment.attempt),
  ]);
  const runs = all.filter((other) => other.experimentId !== experimentId);
  const worker = { endpoint: experiment.workerEndpoint ?? '', payTo: attempt?.payment?.intent.payTo ?? null };
  const evidence = readEvidence(experiment, source, run, task, runs);
  const judgement = judgeRun({
    task,
    run,
    worker,
    evidence,
    trainHash: experiment.trainHash,
    variantHash: experiment.variantHash,
    wallSeconds,
    tokensPerStep: readTokensPerStep(source, experiment.config),
    sourceLines: evidence.lines,
    runs,
    earlier: findEarlier(experiment, evidence, runs, task),
    found: findFirst(experiment, evidence, runs),
    isFresh: isFollowUp(experiment),
    noise: estimateNoise(runs, task.noisePrior, evidence.tier),
    champion,
  });
  const enact = async (trx: Trx) => {
    if (run.valBpb === null) return;
    await trx
      .updateTable('experiments')
      .set({ evidence: JSON.stringify({ ...evidence, isTooGood: judgement.delta !== null }) })
      .where('experiment_id', '=', experimentId)
      .execute();
    await settleScope(trx, experiment, task, nowMs);
  };
  const verification = verify(experiment, judgement, evidence, run.valBpb, runs, task);
  return { judgement: { ...judgement, verification }, enact };
}

/** What a run says about the one that it repeats, or that its own gain has to be confirmed. */
function verify(
  { role, auditOf, workerEndpoint }: Experiment,
  { verdict }: Judgement,
  evidence: Evidence,
  valBpb: number | null,
  runs: readonly ScoredRun[],
  task: Task,
): Verification | null {
  const isGain = verdict === 'KEEP' || verdict === 'KEEP-SIMPLER';
  if (role === 'confirmation') return valBpb === null ? null : isGain ? 'confirmed' : 'refuted';
  if (role !== 'audit' && role !== 'canary') return isGain ? 'provisional' : null;
  const of = runs.find(({ experimentId }) => experimentId === auditOf);
  if (!of || valBpb === null || !isComparable(of, evidence)) return null;
  const own: ScoredRun = { ...of, valBpb, endpoint: workerEndpoint ?? '' };
  return splitRepeats([of, own], estimateNoise(runs, task.noisePrior).repeat).isOpen ? 'contradicts' : 'agrees';
}

/** Brings the title of a loop, or of a lineage outside loops, up to date in the transaction that changed its runs. */
export async function settleScope(
  trx: Trx,
  { loopId, rootHash }: Pick<Experiment, 'loopId' | 'rootHash'>,
  task: Task,
  nowMs: number,
): Promise<void> {
  const tries = loopId === null ? [] : await loadExperiments(trx, { loopId, role: 'confirmation', limit: MAX_RUNS });
  const runs = tries.some(({ state }) => state === 'refused') ? await loadScoredRuns(trx, { rootHash }) : [];
  const alone = { unconfirmable: findUnconfirmable(tries, runs), refused: listAlone(tries) };
  await settleTitle(trx, { loopId, rootHash }, task, alone, nowMs);
}

function readEvidence(
  { config, workerEndpoint }: Experiment,
  source: string,
  run: RunResult,
  task: Task,
  runs: readonly ScoredRun[],
): Evidence {
  const { num_steps: steps, data_sha256: dataHash } = run.metrics ?? {};
  return {
    ...partFromSeed({ source, config }, task.seedKnob),
    tier: findTier(run.metrics, workerEndpoint ?? '', runs),
    dataHash: DATA_HASH.exec(String(dataHash ?? ''))?.[1] ?? null,
    steps: typeof steps === 'number' && steps > 0 ? steps : null,
    lines: countLines(source),
  };
}

/** Whether a run asks again about an idea because another run spoke for it. */
function isFollowUp({ role }: Experiment): boolean {
  return role === 'confirmation' || role === 'retest';
}

/** The run that a retest asks again about, if the two may be compared. */
function findFirst(
  { role, auditOf }: Experiment,
  evidence: Evidence,
  runs: readonly ScoredRun[],
): ScoredRun | undefined {
  return runs.find(
    (run) => role === 'retest' && run.experimentId === auditOf && doesCount(run) && isComparable(run, evidence),
  );
}

/** Runs that count together with this one; the run that found an idea does not count in its favour. */
function findEarlier(
  experiment: Experiment,
  evidence: Evidence,
  runs: readonly ScoredRun[],
  task: Task,
): readonly ScoredRun[] {
  const { auditOf } = experiment;
  const selecting = isFollowUp(experiment) ? runs.find(({ experimentId }) => experimentId === auditOf) : undefined;
  const same = selecting
    ? gatherEvidence(selecting, runs, task).fresh
    : runs.filter((run) => run.family === evidence.family && doesCount(run));
  return same.filter((run) => isComparable(run, evidence));
}
