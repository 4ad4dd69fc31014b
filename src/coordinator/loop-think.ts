import { isoTime } from '../base/time.ts';
import { findChampion, findSigma } from '../campaign/champion.ts';
import { loadScoredRuns, type ScoredRun } from '../campaign/evidence.ts';
import { loadHypotheses } from '../campaign/hypotheses.ts';
import { loadInsights } from '../campaign/insights.ts';
import type { Champion } from '../campaign/judge.ts';
import { loadLoops, requireLoop } from '../campaign/loop.ts';
import { findLuckLine } from '../campaign/luck.ts';
import { listMissed, rankProspects } from '../campaign/prospects.ts';
import { renderThink } from '../campaign/think.ts';
import { loadLoopHistory } from '../campaign/think-facts.ts';
import type { ThinkChampion, ThinkProspect } from '../campaign/think-input.ts';
import { loadTitles } from '../campaign/titles.ts';
import { loadExperiment } from '../experiment/experiment.ts';
import { loadTask } from '../experiment/lineage-task.ts';
import { leftUnder, sumLedger } from '../payment/budget.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Services } from './services.ts';

/** Notes that are read; fewer are shown. */
const NOTES = 60;
/** Of each kind. */
const MAX_PROSPECTS = 4;

/** The THINK text of a loop: one renderer for prompt, tool and resource. @throws NotFoundError */
export async function renderLoopThink(services: Services, loopId: string, focus: string | null): Promise<string> {
  const { db, clock } = services;
  const loop = await requireLoop(db, loopId);
  const { rootHash, baselineHash, settings, queue } = loop;
  const [history, titles, runs, ledger, rootSource, baselineScore, hypotheses, insights, task] = await Promise.all([
    loadLoopHistory(db, loopId),
    loadTitles(db, { scope: loopId }),
    loadScoredRuns(db, { rootHash, scope: loopId }),
    sumLedger(db, clock.nowMs(), loopId),
    loadSource(db, baselineHash),
    loadBaselineScore(services, loopId),
    loadHypotheses(db, rootHash, NOTES),
    loadInsights(db, rootHash, NOTES),
    loadTask(db, rootHash),
  ]);
  const champion = findChampion(titles, runs, task);
  const sigma = findSigma(runs, task);
  const standing = { task, loopId, runs, titles };
  const prospects = rankProspects(standing);
  const [leaders, missed] = await Promise.all([
    describeProspects(
      services,
      prospects.filter(({ gain }) => gain > 0).map(({ run, gain }) => ({ run, gain })),
    ),
    describeProspects(
      services,
      listMissed(standing, prospects).map(({ run, ownGain }) => ({ run, gain: ownGain })),
    ),
  ]);
  return renderThink({
    loopId,
    rootHash: baselineHash,
    rootSource: rootSource ?? '',
    task,
    champion: champion && (await describeChampion(services, champion)),
    baselineScore,
    leaders,
    missed,
    sigma,
    luckLine: findLuckLine(runs, champion, sigma, loopId),
    history,
    hypotheses,
    insights,
    queued: queue.map(({ description }) => description),
    rounds: settings.rounds,
    parallel: settings.parallel,
    spentAtomic: ledger.spentAtomic,
    remainingAtomic: leftUnder(settings.budgetAtomic, ledger.spentAtomic, ledger.heldAtomic),
    deadline: settings.deadlineMs === null ? null : isoTime(settings.deadlineMs),
    targetScore: settings.targetValBpb,
    focus,
  });
}

/** The first few of these with what they changed. */
async function describeProspects(
  { db }: Services,
  prospects: readonly { readonly run: ScoredRun; readonly gain: number }[],
): Promise<ThinkProspect[]> {
  const first = prospects.slice(0, MAX_PROSPECTS);
  if (first.length === 0) return [];
  const rows = await db
    .selectFrom('experiments')
    .select(['experiment_id', 'description'])
    .where(
      'experiment_id',
      'in',
      first.map(({ run }) => run.experimentId),
    )
    .execute();
  const descriptions = new Map(rows.map((row) => [row.experiment_id, row.description]));
  return first.map(({ run: { experimentId }, gain }) => ({
    experimentId,
    description: descriptions.get(experimentId) ?? '',
    gain,
  }));
}

async function describeChampion({ db }: Services, champion: Champion): Promise<ThinkChampion | null> {
  const experiment = await loadExperiment(db, champion.experimentId);
  const source = experiment && (await loadSource(db, experiment.trainHash));
  if (!experiment || source === undefined) return null;
  return {
    experimentId: experiment.experimentId,
    trainHash: experiment.trainHash,
    description: experiment.description,
    score: champion.valBpb,
    runs: champion.runs,
    isVerified: champion.verified,
    isBaseline: experiment.role === 'baseline',
    tier: champion.evidence[0]?.tier ?? null,
    config: experiment.config,
    source,
  };
}

/** Score of the newest unchanged run. */
async function loadBaselineScore({ db }: Services, loopId: string): Promise<number | null> {
  const row = await db
    .selectFrom('experiments')
    .select('val_bpb')
    .where('loop_id', '=', loopId)
    .where('role', '=', 'baseline')
    .orderBy('created_at', 'desc')
    .executeTakeFirst();
  return row?.val_bpb ?? null;
}

/**
 * THINK for whoever asks without naming a loop: of the latest one that wants proposals, else how to begin.
 * @throws NotFoundError when a named loop does not exist
 */
export async function renderThinkPrompt(
  services: Services,
  loopId: string | null,
  trainPath: string | null,
  focus: string | null,
): Promise<string> {
  if (loopId !== null) return renderLoopThink(services, loopId, focus);
  const loops = trainPath === null ? await loadLoops(services.db, { limit: 20 }) : [];
  const open = loops.find(({ state }) => state === 'needs_proposals') ?? loops.find(({ state }) => state === 'running');
  if (open) return renderLoopThink(services, open.loopId, focus);
  const script = trainPath === null ? '"train_py": "<whole source>"' : `"train_path": ${JSON.stringify(trainPath)}`;
  return [
    '# Start an experiment loop',
    'There is no open loop. Each experiment runs one variant of a train.py on a paid GPU worker; the score is val_bpb, lower is better.',
    'See what it may cost with get_status and discover_workers {"with_prices": true}, then start:',
    `run_loop {"action": "start", ${script}, "rounds": 5}`,
    'The unchanged script runs first. The answer then holds `think`: everything needed to design the next variants.',
    ...(focus === null ? [] : [`Focus asked for: ${focus}`]),
  ].join('\n');
}
