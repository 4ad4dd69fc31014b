import { loadChampion, loadSigma } from '../campaign/champion.ts';
import { loadLoops, requireLoop } from '../campaign/loop.ts';
import { isOver, loadProgress } from '../campaign/loop-engine.ts';
import { renderThink } from '../campaign/think.ts';
import { loadExperiment } from '../experiment/experiment.ts';
import { leftUnder, sumLedger } from '../payment/budget.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Services } from './services.ts';

/** The THINK text of a loop: one renderer for prompt, tool and resource. @throws NotFoundError */
export async function renderLoopThink(services: Services, loopId: string, focus: string | null): Promise<string> {
  const { db, clock } = services;
  const loop = await requireLoop(services.db, loopId);
  const [progress, champion, sigma, ledger, rootSource] = await Promise.all([
    loadProgress(db, loopId),
    loadChampion(db, loop.rootHash, loopId),
    loadSigma(db, loop.rootHash),
    sumLedger(db, clock.nowMs(), loopId),
    loadSource(db, loop.rootHash),
  ]);
  return renderThink({
    loopId,
    rootHash: loop.rootHash,
    champion: champion ? await withSource(services, champion) : null,
    baseline: progress.baseline,
    rootSource: rootSource ?? '',
    runs: progress.runs.filter(isOver),
    sigma,
    roundsDone: progress.roundsDone,
    rounds: loop.settings.rounds,
    spentAtomic: ledger.spentAtomic,
    remainingAtomic: leftUnder(loop.settings.budgetAtomic, ledger.spentAtomic, ledger.heldAtomic),
    parallel: loop.settings.parallel,
    focus,
  });
}

async function withSource({ db }: Services, reference: NonNullable<Awaited<ReturnType<typeof loadChampion>>>) {
  const experiment = await loadExperiment(db, reference.experimentId);
  const source = experiment && (await loadSource(db, experiment.trainHash));
  return experiment && source !== undefined ? { reference, experiment, source } : null;
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
