import { formatUsd } from '../base/money.ts';
import { loadChampion } from '../campaign/champion.ts';
import { isExtraRun } from '../campaign/extra-facts.ts';
import { type Loop, requireLoop } from '../campaign/loop.ts';
import { type LoopProgress, loadProgress } from '../campaign/loop-engine.ts';
import type { Experiment } from '../experiment/experiment.ts';
import { isCancellable } from '../experiment/states.ts';
import { WITHOUT_PAYMENT } from '../experiment/submission.ts';
import { leftUnder, sumLedger } from '../payment/budget.ts';
import type { CallContext } from './experiments.ts';
import { renderLoopThink } from './loop-think.ts';
import type { ProposalReport } from './loops.ts';
import type { Services } from './services.ts';
import type { RunnerStarter } from './spawn-runner.ts';
import { waitUntil } from './wait.ts';

/** Shows a loop, waiting at most so many seconds until it needs its caller or has something new. */
export async function followLoop(
  services: Services,
  runner: RunnerStarter,
  loopId: string,
  waitSeconds: number,
  call: CallContext,
  report?: ProposalReport,
) {
  const { db } = services;
  let shown = '';
  await waitUntil(
    async () => {
      const loop = await requireLoop(services.db, loopId);
      const progress = await loadProgress(db, loopId);
      if (loop.state === 'running' || progress.inFlight > 0) await runner.ensure(services);
      const text = `${loopId}: ${loop.state}, ${progress.roundsDone} of ${loop.settings.rounds} rounds done, ${progress.inFlight} running`;
      if (text !== shown) call.onProgress?.(text);
      shown = text;
      return loop.state !== 'running' && (progress.inFlight === 0 || loop.state === 'needs_proposals');
    },
    (isDone) => isDone,
    waitSeconds,
    call.signal,
  );
  return viewLoop(services, await requireLoop(services.db, loopId), report);
}

const SHOWN_RESULTS = 12;

async function viewLoop(services: Services, loop: Loop, report: ProposalReport = { refused: [], similar: [] }) {
  const { db, clock } = services;
  const [progress, champion, ledger] = await Promise.all([
    loadProgress(db, loop.loopId),
    loadChampion(db, loop.rootHash, loop.loopId),
    sumLedger(db, clock.nowMs(), loop.loopId),
  ]);
  const remainingAtomic = leftUnder(loop.settings.budgetAtomic, ledger.spentAtomic, ledger.heldAtomic);
  const isWaiting = loop.state === 'needs_proposals';
  return {
    loop_id: loop.loopId,
    state: loop.state,
    summary: summarise(loop, progress),
    rounds_done: progress.roundsDone,
    rounds: loop.settings.rounds,
    queued: loop.queue.length,
    in_flight: progress.inFlight,
    extra_runs: progress.runs.filter((run) => isExtraRun(run) && isMade(run)).length,
    ...(champion
      ? { best: { experiment_id: champion.experimentId, val_bpb: champion.valBpb, verified: champion.verified } }
      : {}),
    ...(progress.baseline?.valBpb == null ? {} : { baseline_val_bpb: progress.baseline.valBpb }),
    spent_usdc: formatUsd(ledger.spentAtomic),
    reserved_usdc: formatUsd(ledger.heldAtomic),
    remaining_usdc: formatUsd(remainingAtomic),
    results: progress.runs.slice(-SHOWN_RESULTS).map(viewRun),
    results_left_out: Math.max(0, progress.runs.length - SHOWN_RESULTS),
    ...(report.refused.length > 0 ? { refused: [...report.refused] } : {}),
    ...(report.similar.length > 0 ? { similar: [...report.similar] } : {}),
    ...(loop.reason ? { reason: loop.reason.text, reason_code: loop.reason.code } : {}),
    ...(isWaiting ? { think: await renderLoopThink(services, loop.loopId, null) } : {}),
    next_step: nextStep(loop),
  };
}

/** Whether a worker has run it, is at it, or may be paid for it: not one that only waits, or that nobody took. */
function isMade({ state, settlement }: Experiment): boolean {
  if (WITHOUT_PAYMENT.includes(state)) return false;
  // An older attempt may be paid although the newest is not even signed.
  const isPaid = settlement !== 'none' && settlement !== 'unpaid';
  return isPaid || !(isCancellable(state) || state === 'lost');
}

function viewRun(run: Experiment) {
  return {
    experiment_id: run.experimentId,
    state: run.state,
    description: run.description,
    ...(run.round === null ? {} : { round: run.round }),
    ...(run.role === 'round' ? {} : { role: run.role }),
    ...(run.valBpb === null ? {} : { val_bpb: run.valBpb }),
    ...(run.judgement ? { verdict: run.judgement.verdict } : {}),
    ...(run.workerEndpoint === null ? {} : { worker_endpoint: run.workerEndpoint }),
    ...(run.reason ? { reason_code: run.reason.code } : {}),
  };
}

function summarise(loop: Loop, { roundsDone, inFlight, runs }: LoopProgress): string {
  const made = runs.filter(isMade);
  const scored = made.filter((run) => run.valBpb !== null).length;
  return `${roundsDone} of ${loop.settings.rounds} rounds done, ${inFlight} running, ${loop.queue.length} queued; ${scored} of ${made.length} runs gave a score.`;
}

function nextStep({ state, loopId, reason }: Loop): string {
  switch (state) {
    case 'needs_proposals':
      return `Read think, then run_loop {"action": "continue", "loop_id": "${loopId}", "proposals": [...]}.`;
    case 'running':
      return `Wait with run_loop {"action": "status", "loop_id": "${loopId}", "wait_seconds": 40}.`;
    case 'finished':
    case 'stopped':
      return 'See the ranking with get_leaderboard, or start another loop.';
    case 'budget_exhausted':
    case 'failed':
      return reason?.nextStep ?? 'Start another loop.';
  }
}
