import type { HttpAnswer } from '../net/http.ts';
import type { Attempt } from '../payment/attempt.ts';
import type { Job } from '../worker/job.ts';
import { readJobId } from '../worker/job-list.ts';
import type { Drive } from './drive.ts';
import type { Experiment, Reason } from './experiment.ts';
import { openListedJob, searchJob, takeFound } from './job-search.ts';
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
  const job = await loadJob(drive.ports.db, experiment.experimentId, experiment.attempt);
  if (!job) throw new TypeError(`${experiment.experimentId} has no job`);
  const attempt = await drive.loadAttempt(experiment);
  const seen = await look(drive, experiment, attempt, job);
  if (typeof seen !== 'string') {
    await drive.advance('returned', { reason: null }, (trx) => saveReply(trx, attempt, seen, drive.nowMs));
    return;
  }
  const isOver = drive.nowMs > job.expiresAtMs;
  if (job.token === null && seen !== 'open' && !isOver) return passOver(drive, experiment, attempt, job, seen);
  if (seen === 'failed') return endFailed(drive);
  if (seen !== 'open' || isOver) return endLost(drive, experiment, attempt, job);
  await pause(drive, attempt);
}

async function pause(drive: Drive, { firstSentAtMs }: Attempt): Promise<void> {
  const ageMs = drive.nowMs - (firstSentAtMs ?? drive.nowMs);
  await drive.pause(Math.min(Math.max(drive.ports.patience.pollMs, Math.round(ageMs * PAUSE_SHARE)), MAX_PAUSE_MS));
}

/** What a job came to, as far as its broker tells: its result, or `open` while there is none to be had. */
async function look(
  drive: Drive,
  experiment: Experiment,
  attempt: Attempt,
  job: Job,
): Promise<HttpAnswer | 'open' | 'failed' | 'gone' | 'foreign'> {
  const { worker } = drive.ports;
  const state = await worker.fetchJobState(job, drive.signal);
  if (state === 'failed' || state === 'gone') return state;
  if (state !== 'complete') return 'open';
  if (job.token === null)
    return (await openListedJob(drive, experiment, attempt, readJobId(job.statusUrl) ?? '')) ?? 'open';
  const answer = await worker.fetchJobResult(job.resultUrl, `Bearer ${job.token}`, drive.signal);
  return answer === null || answer === 'refused' ? 'open' : answer;
}

/** A job from the broker's list came to nothing of ours: the next one that may be ours takes its place. */
async function passOver(
  drive: Drive,
  experiment: Experiment,
  attempt: Attempt,
  job: Job,
  seen: 'failed' | 'gone' | 'foreign',
): Promise<void> {
  const found = await searchJob(drive, experiment, attempt);
  const isSame = found.kind === 'job' && found.job.statusUrl === job.statusUrl;
  // Of the jobs that may be ours none is left that did not fail.
  if (seen === 'failed' && (isSame || found.kind === 'none')) return endFailed(drive);
  if (!isSame && (await takeFound(drive, attempt, found))) return;
  if (found.kind === 'none') return endLost(drive, experiment, attempt, job);
  await pause(drive, attempt);
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

async function endLost(drive: Drive, experiment: Experiment, attempt: Attempt, job: Job): Promise<void> {
  // The worker behind the broker may still have what the broker dropped.
  if ((await findStoredRun(drive, experiment, attempt)) === 'found') return;
  const fate = await resolveFate(drive, experiment, attempt);
  if (!fate) return drive.pause(drive.ports.patience.pollMs);
  const reason: Reason = {
    ...(job.token === null ? NOT_LISTED : GONE),
    nextStep: 'Submit again to another worker; this one is trusted less from now on.',
  };
  await publish(drive, experiment, attempt, { state: 'lost', reason }, fate);
}

const GONE = { code: 'job_gone', text: 'The worker accepted the job, was paid for it, and no longer has it.' };
const NOT_LISTED = {
  code: 'result_lost',
  text: 'The answer to the paid experiment was lost, and none of the jobs that the worker lists for our wallet holds its result.',
};
