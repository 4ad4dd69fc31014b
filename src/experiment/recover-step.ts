import { type Attempt, loadAttempts } from '../payment/attempt.ts';
import { writeOutcome } from '../payment/journal.ts';
import { parseRunResult } from '../worker/result.ts';
import type { Drive } from './drive.ts';
import type { Experiment, Reason } from './experiment.ts';
import { recoverJob } from './job-search.ts';
import { releaseSlots } from './leases.ts';
import { dropAttempt } from './pay-step.ts';
import { publish, resolveFate } from './publish.ts';
import { countBusyReplies, expectRun, loadResultReply, saveReply } from './replies.ts';
import { resend } from './send-step.ts';

/** How often one header is sent at most; a worker that loses it that often will not find it. */
const MAX_SENDS = 4;
/** A "busy" costs the worker nothing, so it may be answered more often. */
const MAX_BUSY_SENDS = 400;
/** Less window than this is not worth another send, in seconds. */
const RESEND_WINDOW_SECONDS = 20;
const MAX_ATTEMPTS = 4;
/** A free worker has no window that would bound its run, in milliseconds. */
const FREE_RUN_MS = 30 * 60_000;
const BUSY_PAUSE_MS = 2_000;
const MAX_BUSY_PAUSE_MS = 60_000;

/**
 * One look at an experiment in state `sent` whose answer is missing: asks the worker for the result, the chain for the
 * money, and then sends again, waits, moves on or ends. Called again until the experiment leaves `sent`.
 */
export async function recoverStep(drive: Drive, experiment: Experiment): Promise<void> {
  const attempt = await drive.loadAttempt(experiment);
  if (await useFiledAnswer(drive, experiment, attempt)) return;
  if (attempt.sends === 0) return recoverUnsent(drive, experiment, attempt);
  if (isBusy(experiment) && (await wasOnlyBusy(drive, attempt))) return recoverBusy(drive, experiment, attempt);
  const run = await findStoredRun(drive, experiment, attempt);
  if (run === 'found') return;
  if (run === 'running' && isRunTime(drive, attempt)) return drive.pause(drive.ports.patience.pollMs);
  await recoverByChain(drive, experiment, attempt);
}

/** An answer that came when another process had taken over is filed all the same: it may have been paid for. */
async function useFiledAnswer(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<boolean> {
  const reply = await loadResultReply(drive.ports.db, experiment.experimentId, attempt.attempt);
  if (!reply || typeof parseRunResult(reply.body, expectRun(experiment, attempt)) === 'string') return false;
  await drive.advance('returned', { reason: null });
  return true;
}

function isBusy(experiment: Experiment): boolean {
  return experiment.reason?.code === 'worker_busy';
}

/** Whether every send was answered "busy". After one without an answer the worker may be busy with this very run. */
async function wasOnlyBusy({ ports }: Drive, { experimentId, attempt, sends }: Attempt): Promise<boolean> {
  return (await countBusyReplies(ports.db, experimentId, attempt)) >= sends;
}

/** Whether a run may still be going on: what a worker says about it later holds nothing up. */
function isRunTime(drive: Drive, { payment, firstSentAtMs }: Attempt): boolean {
  const endMs = payment ? payment.intent.validBefore * 1000 : (firstSentAtMs ?? 0) + FREE_RUN_MS;
  return drive.nowMs < endMs;
}

/** The header never left: another worker may be taken at once, and the reservation is free. */
async function recoverUnsent(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<void> {
  const reason = experiment.reason ?? {
    code: 'worker_unreachable',
    text: 'The worker could not be reached; nothing was sent.',
  };
  await dropAttempt(drive, attempt, reason);
  await releaseSlots(drive.ports.db, experiment.experimentId);
  if (experiment.workerRequest !== 'auto') return drive.refuse(reason);
  await avoidWorker(drive, attempt);
}

async function recoverBusy(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<void> {
  const { patience } = drive.ports;
  const waitedMs = drive.nowMs - (attempt.firstSentAtMs ?? drive.nowMs);
  if (experiment.workerRequest === 'auto' && waitedMs > patience.busyMs && (await mayOverlap(drive, experiment))) {
    await releaseSlots(drive.ports.db, experiment.experimentId);
    return avoidWorker(drive, attempt);
  }
  const askedMs = (experiment.reason?.retryAtMs ?? 0) - drive.nowMs;
  // Who may go elsewhere after a while does not sleep past that.
  await drive.pause(
    Math.min(
      Math.max(askedMs, BUSY_PAUSE_MS),
      experiment.workerRequest === 'auto' ? patience.busyMs : MAX_BUSY_PAUSE_MS,
    ),
  );
  if (drive.signal.aborted) return;
  if (canResend(drive, attempt, MAX_BUSY_SENDS)) return resend(drive, attempt);
  const run = await findStoredRun(drive, experiment, attempt);
  if (run !== 'found') await recoverByChain(drive, experiment, attempt);
}

/** Whether one more live authorization of this experiment is allowed (design.md section 5, invariant 3). */
async function mayOverlap(drive: Drive, experiment: Experiment): Promise<boolean> {
  const attempts = await loadAttempts(drive.ports.db, experiment.experimentId);
  const live = attempts.filter(({ state }) => state !== 'unpaid' && state !== 'free');
  return live.length < drive.ports.maxOverlap && attempts.length < MAX_ATTEMPTS;
}

async function avoidWorker(drive: Drive, attempt: Attempt): Promise<void> {
  const experiment = await drive.load();
  await drive.advance('claimed', {
    reason: experiment.reason,
    avoid: { ...experiment.avoid, [attempt.workerEndpoint]: drive.nowMs + 10 * 60_000 },
  });
}

function canResend(drive: Drive, attempt: Attempt, maxSends: number): boolean {
  const leftSeconds = attempt.payment
    ? attempt.payment.intent.validBefore - drive.nowMs / 1000
    : Number.POSITIVE_INFINITY;
  return attempt.sends < maxSends && leftSeconds > RESEND_WINDOW_SECONDS;
}

/** The run is not to be had from the worker now: the chain says whether it was paid for. */
async function recoverByChain(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<void> {
  if (attempt.state === 'settled') return waitForPaidResult(drive, attempt);
  const chain = await drive.ports.desk.fetchState(attempt);
  switch (chain.kind) {
    case 'cancelled':
    case 'expired':
      return endUnpaid(drive, experiment, attempt, chain.kind);
    case 'settled':
      await drive.advance('sent', { settlement: 'settled' }, (trx) =>
        writeOutcome(trx, attempt.experimentId, attempt.attempt, { kind: 'settled', tx: chain.tx }, drive.nowMs),
      );
      return waitForPaidResult(drive, attempt);
    case 'used':
      if (experiment.settlement !== 'settled') await drive.advance('sent', { settlement: 'settled' });
      return waitForPaidResult(drive, attempt);
    case 'unverifiable':
      if (await recoverJob(drive, attempt)) return;
      // Without a chain nothing is ever proven: the result is looked for as long as one that is paid.
      return isWindowOver(drive, attempt)
        ? waitForPaidResult(drive, attempt)
        : waitOrResend(drive, experiment, attempt);
    case 'live':
      return waitOrResend(drive, experiment, attempt);
  }
}

function isWindowOver(drive: Drive, { payment }: Attempt): boolean {
  return payment !== null && drive.nowMs / 1000 > payment.intent.validBefore;
}

async function waitOrResend(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<void> {
  if (experiment.consent.overlap && experiment.workerRequest === 'auto' && (await mayOverlap(drive, experiment))) {
    await releaseSlots(drive.ports.db, experiment.experimentId);
    return avoidWorker(drive, attempt);
  }
  await drive.pause(drive.ports.patience.pollMs);
  if (drive.signal.aborted) return;
  const isRefused = ['payment_refused', 'submission_refused', 'answer_unusable'].includes(
    experiment.reason?.code ?? '',
  );
  if (!isRefused && canResend(drive, attempt, isBusy(experiment) ? MAX_BUSY_SENDS : MAX_SENDS))
    return resend(drive, attempt);
  if (attempt.payment === null) return endFreeRun(drive, attempt);
  if (experiment.settlement !== 'unknown') await drive.advance('sent', { settlement: 'unknown' });
}

/** The worker has no result of a run that is paid: it is looked for a while longer, among jobs too, then honestly lost. */
async function waitForPaidResult(drive: Drive, attempt: Attempt): Promise<void> {
  if (await recoverJob(drive, attempt)) return;
  const { patience } = drive.ports;
  const sinceMs = drive.nowMs - (attempt.firstSentAtMs ?? drive.nowMs);
  const runMs = attempt.payment ? attempt.payment.intent.validBefore * 1000 - (attempt.firstSentAtMs ?? 0) : 0;
  if (sinceMs < Math.max(runMs, 0) + patience.lostMs) return drive.pause(patience.pollMs);
  const experiment = await drive.load();
  const current = await drive.loadAttempt(experiment);
  const fate = await resolveFate(drive, experiment, current.attempt === attempt.attempt ? current : attempt);
  if (!fate) return drive.pause(patience.pollMs);
  const reason = {
    code: 'result_lost',
    text: `The experiment ${fate.settlement === 'settled' ? 'was paid' : 'may have been paid'}, and the worker neither answered with its result nor has it stored.`,
    nextStep: 'Submit again to another worker; this one is trusted less from now on.',
  };
  await publish(drive, experiment, attempt, { state: 'lost', reason }, fate);
}

async function endFreeRun(drive: Drive, attempt: Attempt): Promise<void> {
  const reason = { code: 'result_lost', text: 'The worker, which asked for no payment, gave no result.' };
  await publish(drive, await drive.load(), attempt, { state: 'lost', reason }, { outcome: null, settlement: 'none' });
}

/** The chain proves that nobody was paid and nobody can be: the reservation is free and another worker may be tried. */
async function endUnpaid(drive: Drive, experiment: Experiment, attempt: Attempt, why: string): Promise<void> {
  const outcome = { kind: 'unpaid', reason: why } as const;
  const mayTryAgain = experiment.workerRequest === 'auto' && attempt.attempt < MAX_ATTEMPTS;
  const reason: Reason = {
    code: 'unpaid',
    text: `The worker never used its payment; the chain shows that it cannot any more. ${experiment.reason?.text ?? ''}`.trim(),
    nextStep: 'Submit again, if you like to another worker: nothing was spent.',
    ...(experiment.reason?.untrustedNote === undefined ? {} : { untrustedNote: experiment.reason.untrustedNote }),
  };
  await drive.advance(
    mayTryAgain ? 'claimed' : 'unpaid',
    { settlement: mayTryAgain ? 'none' : 'unpaid', reason },
    (trx) => writeOutcome(trx, attempt.experimentId, attempt.attempt, outcome, drive.nowMs),
  );
  await releaseSlots(drive.ports.db, experiment.experimentId);
  if (mayTryAgain) await avoidWorker(drive, attempt);
}

/** Asks the worker whether it has the result, or is still at it; a result of ours is filed at once. */
export async function findStoredRun(
  drive: Drive,
  experiment: Experiment,
  attempt: Attempt,
): Promise<'found' | 'running' | 'none'> {
  const expected = expectRun(experiment, attempt);
  const run = await drive.ports.worker.fetchStoredRun(
    attempt.workerEndpoint,
    expected.workerExperimentId,
    drive.signal,
  );
  if (run.kind === 'running') return 'running';
  if (run.kind !== 'found') return 'none';
  const result = parseRunResult(run.answer.body, expected);
  // What names neither our program nor a score is about nothing of ours.
  if (typeof result === 'string' || (result.flags.includes('hash_missing') && result.status === 'completed'))
    return 'none';
  // Other workers answer 200 about a run that is not over; what is filed here ends the experiment.
  if (result.status === 'unknown') return 'running';
  await drive.advance(
    'returned',
    {
      attempt: attempt.attempt,
      reason: null,
      worker: { endpoint: attempt.workerEndpoint, workerId: attempt.workerId },
    },
    (trx) => saveReply(trx, attempt, run.answer, drive.nowMs),
  );
  return 'found';
}

/**
 * Looks after older attempts before another one is made: a result that came meanwhile is filed, and once one of them is
 * paid no other is bought.
 * @returns whether there is nothing else to do now
 */
export async function followOlder(drive: Drive, experiment: Experiment): Promise<boolean> {
  for (const attempt of await loadAttempts(drive.ports.db, experiment.experimentId)) {
    if (attempt.sends > 0 && (await findStoredRun(drive, experiment, attempt)) === 'found') return true;
    if (attempt.state !== 'settled') continue;
    await waitForPaidResult(drive, attempt);
    return true;
  }
  return false;
}
