import { CoordinatorError } from '../base/errors.ts';
import { workerExperimentId } from '../base/ids.ts';
import { NetworkError } from '../net/errors.ts';
import type { HttpAnswer } from '../net/http.ts';
import type { Attempt } from '../payment/attempt.ts';
import { loadHeader, writeClaimedTx, writeNotSent, writeSent } from '../payment/journal.ts';
import { parseReceipt, type WorkerReceipt } from '../payment/receipt.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Trx } from '../store/database.ts';
import { encodeSubmission } from '../worker/client.ts';
import { parseJob } from '../worker/job.ts';
import type { Drive } from './drive.ts';
import type { Experiment, Reason } from './experiment.ts';
import { saveJob } from './jobs.ts';
import { LeaseLostError } from './journal.ts';
import { saveReply } from './replies.ts';

/** What is kept of an answer that holds no result, in bytes. */
const MAX_REFUSAL_BYTES = 16_384;
/** A free worker has no window that would bound its run, in milliseconds. */
const FREE_DEADLINE_MS = 30 * 60_000;
/** After the window has closed nothing can settle; this much later waiting ends, in milliseconds. */
const AFTER_WINDOW_MS = 30_000;

/**
 * Sends the journaled submission of an experiment in state `sent` once and files the answer. The experiment is then
 * `returned`, or stays `sent` with a reason that says how to go on.
 */
export async function exchange(drive: Drive, experiment: Experiment): Promise<void> {
  const attempt = await drive.loadAttempt(experiment);
  try {
    const answer = await submit(drive, experiment, attempt);
    await fileAnswer(drive, attempt, answer);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    if (error.problem === 'cancelled') return;
    if (!error.isSent) return noteUnsent(drive, attempt, error);
    await drive.advance('sent', { reason: ambiguous(`no_answer_${error.problem}`, error.message) });
  }
}

async function submit(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<HttpAnswer> {
  const { db, worker } = drive.ports;
  const source = await loadSource(db, experiment.trainHash);
  if (source === undefined) throw new TypeError(`source ${experiment.trainHash} is missing`);
  const body = encodeSubmission(
    source,
    experiment.config,
    workerExperimentId(experiment.experimentId, attempt.attempt),
  );
  const deadlineMs = attempt.payment
    ? Math.max(attempt.payment.intent.validBefore * 1000 - drive.nowMs, 0) + AFTER_WINDOW_MS
    : FREE_DEADLINE_MS;
  return worker.submit(attempt.workerEndpoint, body, await paymentHeaders(drive, attempt), deadlineMs, drive.signal);
}

async function paymentHeaders(drive: Drive, attempt: Attempt): Promise<Record<string, string>> {
  if (!attempt.payment) return {};
  const header = await loadHeader(drive.ports.db, attempt.experimentId, attempt.attempt);
  if (!header) throw new TypeError(`${attempt.experimentId} has no signed header`);
  // Gates that repeat their v2 terms in the body may read the v2 payment from the old header alone.
  const alsoOld = header.name === 'PAYMENT-SIGNATURE' && attempt.payment.terms.isInBody;
  return { [header.name]: header.value, ...(alsoOld ? { 'X-PAYMENT': header.value } : {}) };
}

/** Keeps the answer before reading it, then decides what it means for the run; what it means for the money the chain says. */
async function fileAnswer(drive: Drive, attempt: Attempt, answer: HttpAnswer): Promise<void> {
  const receipt = parseReceipt(answer.headers);
  const keep = async (trx: Trx) => {
    // Of an answer that is no result its beginning is enough: "busy" may come hundreds of times.
    const body = answer.status < 300 ? answer.body : answer.body.subarray(0, MAX_REFUSAL_BYTES);
    await saveReply(trx, attempt, { ...answer, body }, drive.nowMs);
    if (receipt?.tx) await writeClaimedTx(trx, attempt.experimentId, attempt.attempt, receipt.tx);
  };
  try {
    await decide(drive, attempt, answer, receipt, keep);
  } catch (error) {
    // Another process goes on with the experiment; what was paid for is kept for it.
    if (error instanceof LeaseLostError) await drive.ports.db.transaction().execute(keep);
    throw error;
  }
}

async function decide(
  drive: Drive,
  attempt: Attempt,
  answer: HttpAnswer,
  receipt: WorkerReceipt | null,
  keep: (trx: Trx) => Promise<void>,
): Promise<void> {
  if (answer.status === 200) {
    await drive.advance('returned', { reason: null }, keep);
    return;
  }
  const job = answer.status === 202 ? parseJob(attempt.workerEndpoint, answer.body, drive.nowMs) : null;
  if (job) {
    await drive.advance('accepted', { reason: null }, async (trx) => {
      await keep(trx);
      await saveJob(trx, attempt, job);
    });
    return;
  }
  const untrustedNote = receipt?.untrustedReason;
  const reason = { ...explainStatus(answer, drive.nowMs), ...(untrustedNote == null ? {} : { untrustedNote }) };
  await drive.advance('sent', { reason }, keep);
}

function explainStatus({ status, body, headers }: HttpAnswer, nowMs: number): Reason {
  // A gate that could not even verify has consumed nothing; one that could not settle may have been paid.
  const isUnverified =
    status === 503 &&
    /payment verification failed|facilitator_(unreachable|error)/i.test(body.toString('utf8', 0, 4_096));
  if (status === 409 || status === 429 || isUnverified) {
    return {
      code: 'worker_busy',
      text: `The worker has no room for the paid experiment right now (HTTP ${status}); the same payment is sent again.`,
      ...readRetryAfter(headers['retry-after'], nowMs),
    };
  }
  if (status === 402) return ambiguous('payment_refused', `The worker refused the payment (HTTP 402).`);
  if (status >= 400 && status < 500)
    return ambiguous('submission_refused', `The worker refused the experiment (HTTP ${status}).`);
  if (status < 300)
    return ambiguous(
      'answer_unusable',
      `The worker answered HTTP ${status}, which names neither a result nor a job on its own host.`,
    );
  return ambiguous('worker_error', `The worker answered HTTP ${status}.`);
}

/** A worker that asks for more patience than this is asked again all the same, in milliseconds. */
const MAX_RETRY_AFTER_MS = 60_000;

/** When a worker wants to be asked again, as `Retry-After` has it, in seconds or as a date. */
function readRetryAfter(value: string | undefined, nowMs: number): { retryAtMs?: number } {
  const asked = /^\d{1,6}$/.test(value ?? '') ? Number(value) * 1000 : Date.parse(value ?? '') - nowMs;
  return Number.isNaN(asked) ? {} : { retryAtMs: nowMs + Math.min(Math.max(asked, 0), MAX_RETRY_AFTER_MS) };
}

function ambiguous(code: string, text: string): Reason {
  return {
    code,
    text: `${text} Its price stays reserved until the chain shows what became of it.`,
    nextStep: 'Wait with get_experiment; nothing else is paid for this experiment meanwhile.',
  };
}

/** Nothing left this machine, so nobody got the payment. */
async function noteUnsent(drive: Drive, attempt: Attempt, error: NetworkError): Promise<void> {
  await drive.advance('sent', { reason: { code: 'worker_unreachable', text: error.message } }, (trx) =>
    writeNotSent(trx, attempt.experimentId, attempt.attempt, drive.nowMs),
  );
}

/** Sends the very same header again (x402.md section 8.4), unless spending is frozen. */
export async function resend(drive: Drive, attempt: Attempt): Promise<void> {
  try {
    await drive.ports.desk.assertMaySend();
  } catch (error) {
    if (!(error instanceof CoordinatorError)) throw error;
    return drive.pause(drive.ports.patience.pollMs);
  }
  const experiment = await drive.advance('sent', {}, (trx) =>
    writeSent(trx, attempt.experimentId, attempt.attempt, drive.nowMs),
  );
  await exchange(drive, experiment);
}
