import { buildWorkerUrl } from '../base/endpoint.ts';
import { CoordinatorError } from '../base/errors.ts';
import type { HttpAnswer } from '../net/http.ts';
import type { Attempt } from '../payment/attempt.ts';
import { GuardError } from '../payment/guard.ts';
import { repeatsSignIn } from '../payment/sign-in.ts';
import type { Job } from '../worker/job.ts';
import {
  buildListedJob,
  JOB_LIST_PATH,
  type ListedJob,
  namesExperiment,
  parseJobList,
  pathOfResult,
} from '../worker/job-list.ts';
import { parseRunResult } from '../worker/result.ts';
import type { Drive } from './drive.ts';
import type { Experiment } from './experiment.ts';
import { loadKnownJobIds, saveJob } from './jobs.ts';
import { expectRun, saveReply } from './replies.ts';

/** Gates take sign-ins of clocks that are off by this much, so their jobs may be dated so, in milliseconds. */
const MAX_SKEW_MS = 120_000;

/** What a search for the job of an attempt has found. */
export type Found =
  | { readonly kind: 'result'; readonly answer: HttpAnswer }
  /** A job that may be ours: its result will tell, unless it failed and no other is left. */
  | { readonly kind: 'job'; readonly job: Job; readonly hasFailed: boolean }
  | { readonly kind: 'later' }
  | { readonly kind: 'none' };

/**
 * Looks for the job of an attempt whose 202 was lost (worker-api.md section 6): in the broker's list of the wallet that
 * paid, newest first, among the jobs of the time in which ours was accepted. What is complete is opened and counts only
 * when it names our experiment and program.
 */
export async function searchJob(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<Found> {
  const memory = drive.memoryOf(attempt);
  if (memory.isOver || attempt.payment === null || attempt.firstSentAtMs === null) return { kind: 'none' };
  if (!memory.mayLook(drive.nowMs, drive.ports.patience.pollMs)) return { kind: 'later' };
  const listed = await listJobs(drive, attempt);
  if (listed === null) return { kind: memory.isOver ? 'none' : 'later' };
  const known = await loadKnownJobIds(drive.ports.db, attempt);
  const candidates = listed.filter(({ jobId }) => !known.has(jobId) && !memory.foreign.has(jobId));
  return choose(drive, experiment, attempt, candidates.slice(0, memory.foreignLeft));
}

async function choose(
  drive: Drive,
  experiment: Experiment,
  attempt: Attempt,
  candidates: readonly ListedJob[],
): Promise<Found> {
  let isUndecided = candidates.length === 0;
  for (const { jobId } of candidates.filter(({ state }) => state === 'complete')) {
    const answer = await openListedJob(drive, experiment, attempt, jobId);
    if (answer !== 'foreign' && answer !== null) return { kind: 'result', answer };
    isUndecided ||= answer === null;
  }
  const running = candidates.find(({ state }) => state === 'pending' || state === 'running');
  if (running) return { kind: 'job', job: toJob(attempt, running), hasFailed: false };
  if (isUndecided) return { kind: 'later' };
  const failed = candidates.find(({ state }) => state === 'failed');
  return failed ? { kind: 'job', job: toJob(attempt, failed), hasFailed: true } : { kind: 'later' };
}

function toJob(attempt: Attempt, { jobId }: ListedJob): Job {
  return buildListedJob(attempt.workerEndpoint, jobId, attempt.firstSentAtMs ?? 0);
}

/** The jobs that may be the one of an attempt; null when the broker tells none, now or ever. */
async function listJobs(drive: Drive, attempt: Attempt): Promise<ListedJob[] | null> {
  const { worker } = drive.ports;
  const memory = drive.memoryOf(attempt);
  // Asked without a sign-in first: only a worker that wants one gets one.
  let answer = await worker.fetchJobList(buildWorkerUrl(attempt.workerEndpoint, JOB_LIST_PATH), null, drive.signal);
  if (answer.kind === 'sign_in') {
    const signed = await signIn(drive, attempt, JOB_LIST_PATH);
    if (signed === null) return null;
    answer = await worker.fetchJobList(signed.url, signed.authorization, drive.signal);
  }
  const { payment, firstSentAtMs } = attempt;
  if (answer.kind === 'unknown' || payment === null || firstSentAtMs === null) return null;
  const jobs =
    answer.kind === 'list'
      ? parseJobList(answer.body, {
          wallet: payment.intent.payer,
          fromMs: firstSentAtMs - MAX_SKEW_MS,
          // A job is accepted when it is paid, and later than this nothing pays for it.
          untilMs: payment.intent.validBefore * 1000 + MAX_SKEW_MS,
        })
      : null;
  if (jobs === null) memory.close();
  return jobs;
}

/**
 * Opens the result of a complete job with a sign-in.
 * @returns `foreign` when it is not about our run, or never opens for us; null while it may still open
 */
export async function openListedJob(
  drive: Drive,
  experiment: Experiment,
  attempt: Attempt,
  jobId: string,
): Promise<HttpAnswer | 'foreign' | null> {
  const { foreign } = drive.memoryOf(attempt);
  if (foreign.has(jobId)) return 'foreign';
  const answer = await fetchResult(drive, attempt, jobId);
  if (answer === null) return null;
  const expected = expectRun(experiment, attempt);
  const isOurs =
    typeof answer !== 'string' &&
    namesExperiment(answer.body, expected.workerExperimentId) &&
    typeof parseRunResult(answer.body, expected) !== 'string';
  if (isOurs) return answer;
  foreign.add(jobId);
  return 'foreign';
}

async function fetchResult(drive: Drive, attempt: Attempt, jobId: string): Promise<HttpAnswer | 'closed' | null> {
  const memory = drive.memoryOf(attempt);
  const signed = await signIn(drive, attempt, pathOfResult(jobId));
  if (signed === null) return memory.isOver ? 'closed' : null;
  const answer = await drive.ports.worker.fetchJobResult(signed.url, signed.authorization, drive.signal);
  if (answer === null) return null;
  // What is filed is published: an answer that repeats our sign-in is none.
  const isUsable = typeof answer !== 'string' && !repeatsSignIn(answer.body, signed.authorization);
  return isUsable ? answer : 'closed';
}

/** A sign-in for one request; null when there is none to be had now, or ever. */
async function signIn(drive: Drive, attempt: Attempt, path: string) {
  const memory = drive.memoryOf(attempt);
  if (!memory.maySignIn()) {
    memory.close();
    return null;
  }
  try {
    return await drive.ports.desk.signIn(attempt, path);
  } catch (error) {
    if (!(error instanceof CoordinatorError)) throw error;
    // Another wallet, or a host that fits no sign-in, stays so; a signer that is away or slow may not.
    if (error instanceof GuardError && ['wrong_payer', 'no_sign_in_text'].includes(error.code)) memory.close();
    drive.ports.log.warn(
      { experiment: attempt.experimentId, code: error.code },
      'a job that the worker may have cannot be looked for: the sign-in failed',
    );
    return null;
  }
}

/** Goes on with what a search has found. @returns whether the experiment has moved on */
export async function takeFound(drive: Drive, attempt: Attempt, found: Found): Promise<boolean> {
  const change = {
    attempt: attempt.attempt,
    reason: null,
    worker: { endpoint: attempt.workerEndpoint, workerId: attempt.workerId },
  };
  switch (found.kind) {
    case 'result':
      await drive.advance('returned', change, (trx) => saveReply(trx, attempt, found.answer, drive.nowMs));
      return true;
    case 'job':
      await drive.advance('accepted', change, (trx) => saveJob(trx, attempt, found.job));
      return true;
    case 'later':
    case 'none':
      return false;
  }
}

/** Looks for the job of an attempt that may be paid and of which nothing came back. @returns whether it was found */
export async function recoverJob(drive: Drive, attempt: Attempt): Promise<boolean> {
  if (drive.memoryOf(attempt).isOver) return false;
  return takeFound(drive, attempt, await searchJob(drive, await drive.load(), attempt));
}
