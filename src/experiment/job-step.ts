import type { Attempt } from '../payment/attempt.ts';
import type { Drive } from './drive.ts';
import type { Experiment } from './experiment.ts';
import { loadJob } from './jobs.ts';
import { releaseSlots } from './leases.ts';
import { publish, resolveFate } from './publish.ts';
import { findStoredRun } from './recover-step.ts';
import { saveReply } from './replies.ts';

/** A job of minutes is asked at most this often, in milliseconds; brokers ask for 5 s. */
const MAX_PAUSE_MS = 30_000;
/** Pauses grow with the age of the job: a young one may be done at once. */
const PAUSE_SHARE = 0.05;

/** One look at an experiment in state `accepted`: asks the broker, and files the result when the job is complete. */
export async function jobStep(drive: Drive, experiment: Experiment): Promise<void> {
  const { db, worker, patience } = drive.ports;
  const job = await loadJob(db, experiment.experimentId, experiment.attempt);
  if (!job) throw new TypeError(`${experiment.experimentId} has no job`);
  const attempt = await drive.loadAttempt(experiment);
  const state = await worker.fetchJobState(job, drive.signal);
  if (state === 'complete') {
    const answer = await worker.fetchJobResult(job, drive.signal);
    if (answer === 'gone') return endLost(drive, experiment, attempt);
    if (answer) {
      await drive.advance('returned', { reason: null }, (trx) => saveReply(trx, attempt, answer, drive.nowMs));
      return;
    }
  }
  if (state === 'failed') return endFailed(drive);
  if (state === 'gone' || drive.nowMs > job.expiresAtMs) return endLost(drive, experiment, attempt);
  const ageMs = drive.nowMs - (attempt.firstSentAtMs ?? drive.nowMs);
  await drive.pause(Math.min(Math.max(patience.pollMs, ageMs * PAUSE_SHARE), MAX_PAUSE_MS));
}

/** Brokers serve no body of a failed job: that it failed is all there is, and it was paid at acceptance. */
async function endFailed(drive: Drive): Promise<void> {
  await drive.advance('judged', {
    result: { stored: null, valBpb: null },
    judgement: {
      verdict: 'FAILED',
      because: 'the job ended with an error',
      championId: null,
      delta: null,
      sigma: null,
      z: null,
    },
    reason: {
      code: 'job_failed',
      text: 'The job failed at the worker, which was paid when it accepted it.',
      nextStep: 'Submit again to another worker.',
    },
  });
  await releaseSlots(drive.ports.db, drive.lease.experimentId);
}

async function endLost(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<void> {
  // The worker behind the broker may still have what the broker dropped.
  if ((await findStoredRun(drive, experiment, attempt)) === 'found') return;
  const fate = await resolveFate(drive, experiment, attempt);
  if (!fate) return drive.pause(drive.ports.patience.pollMs);
  const reason = {
    code: 'job_gone',
    text: 'The worker accepted the job, was paid for it, and no longer has it.',
    nextStep: 'Submit again to another worker; this one is trusted less from now on.',
  };
  await publish(drive, experiment, attempt, { state: 'lost', reason }, fate);
}
