import { CoordinatorError } from '../base/errors.ts';
import { type Attempt, loadAttempts } from '../payment/attempt.ts';
import { GuardError } from '../payment/guard.ts';
import { writeHeader, writeOutcome, writeSent } from '../payment/journal.ts';
import type { Drive } from './drive.ts';
import { type Experiment, type Reason, toReason } from './experiment.ts';
import { exchange } from './send-step.ts';
import type { Settlement } from './states.ts';

/** An authorization with less time left than this is not worth sending, in seconds. */
const MIN_WINDOW_SECONDS = 45;

/** `reserved → signed`: the intent is on disk, so signing again after a crash signs the very same payment. */
export async function signStep(drive: Drive, experiment: Experiment): Promise<void> {
  const attempt = await drive.loadAttempt(experiment);
  if (attempt.state === 'free') {
    await drive.advance('signed', {});
    return;
  }
  if (!hasWindow(drive, attempt)) return dropAttempt(drive, attempt, STALE);
  try {
    const header = await drive.ports.desk.signAttempt(attempt);
    await drive.advance('signed', {}, (trx) =>
      writeHeader(trx, attempt.experimentId, attempt.attempt, header, drive.nowMs),
    );
  } catch (error) {
    if (!(error instanceof CoordinatorError)) throw error;
    const isStale = error instanceof GuardError && error.code === 'validity';
    if (isStale) return dropAttempt(drive, attempt, STALE);
    // Back where a worker is looked for: that step ends the experiment, unless an older attempt is still open.
    await dropAttempt(drive, attempt, toReason(error));
    await giveUpSigning(drive, toReason(error));
  }
}

/** Without a signature there is nothing to try elsewhere; an older attempt that is still open is followed on. */
async function giveUpSigning(drive: Drive, reason: Reason): Promise<void> {
  const { settlement } = await drive.load();
  if (settlement === 'none') await drive.refuse(reason);
}

const STALE: Reason = {
  code: 'window_used_up',
  text: 'The signed time window ran out before anything was sent; the payment was dropped unsent.',
};

/** `signed → sent`: notes on disk that the header is about to leave, then sends it. */
export async function sendStep(drive: Drive, experiment: Experiment): Promise<void> {
  const attempt = await drive.loadAttempt(experiment);
  if (!hasWindow(drive, attempt)) return dropAttempt(drive, attempt, STALE);
  try {
    await drive.ports.desk.assertMaySend();
  } catch (error) {
    if (!(error instanceof CoordinatorError)) throw error;
    await dropAttempt(drive, attempt, toReason(error));
    return giveUpSigning(drive, toReason(error));
  }
  const sent = await drive.advance('sent', { settlement: attempt.payment ? 'pending' : 'none' }, (trx) =>
    writeSent(trx, attempt.experimentId, attempt.attempt, drive.nowMs),
  );
  await exchange(drive, sent);
}

function hasWindow(drive: Drive, { payment }: Attempt): boolean {
  return payment === null || payment.intent.validBefore - drive.nowMs / 1000 >= MIN_WINDOW_SECONDS;
}

/** Forgets an authorization that never left this process: nobody can use it, so its reservation is free. */
export async function dropAttempt(drive: Drive, attempt: Attempt, reason: Reason): Promise<void> {
  const settlement = await settlementOfOthers(drive, attempt);
  await drive.advance('claimed', { reason, settlement }, (trx) =>
    writeOutcome(trx, attempt.experimentId, attempt.attempt, { kind: 'unpaid', reason: reason.code }, drive.nowMs),
  );
}

/** What the other attempts of an experiment leave open when this one is gone. */
async function settlementOfOthers(drive: Drive, { experimentId, attempt }: Attempt): Promise<Settlement> {
  const others = (await loadAttempts(drive.ports.db, experimentId)).filter((other) => other.attempt !== attempt);
  if (others.some(({ state }) => state === 'settled' || state === 'claimed')) return 'settled';
  return others.some(({ state }) => state === 'sent') ? 'pending' : 'none';
}
