import { isoTime } from '../base/time.ts';
import type { Attempt } from '../payment/attempt.ts';
import { type AuthorizationOutcome, writeOutcome } from '../payment/journal.ts';
import { buildRecordLine, saveRecord, toRawResult } from '../provenance/record.ts';
import type { Drive } from './drive.ts';
import type { Experiment, Reason } from './experiment.ts';
import { releaseSlots } from './leases.ts';
import { loadResultReply } from './replies.ts';
import type { Settlement } from './states.ts';

/** What became of an attempt's money, as far as it will ever be known. */
export interface Fate {
  /** What the journal does not have yet. */
  readonly outcome: AuthorizationOutcome | null;
  readonly settlement: Settlement;
}

/** How an experiment that somebody was sent ends. */
export interface End {
  readonly state: 'published' | 'failed' | 'lost';
  readonly reason?: Reason;
}

/** Ends an experiment and publishes its record, in one step with what became of its money. */
export async function publish(
  drive: Drive,
  experiment: Experiment,
  attempt: Attempt,
  end: End,
  fate: Fate,
): Promise<void> {
  const line = await describeEnd(drive, experiment, attempt, end, fate);
  const change = { settlement: fate.settlement, ...(end.reason ? { reason: end.reason } : {}) };
  await drive.advance(end.state, change, async (trx) => {
    if (fate.outcome) await writeOutcome(trx, attempt.experimentId, attempt.attempt, fate.outcome, drive.nowMs);
    await saveRecord(trx, experiment.experimentId, line, drive.nowMs);
  });
  await releaseSlots(drive.ports.db, experiment.experimentId);
}

async function describeEnd(
  drive: Drive,
  experiment: Experiment,
  attempt: Attempt,
  end: End,
  { outcome, settlement }: Fate,
): Promise<string> {
  const reply = await loadResultReply(drive.ports.db, experiment.experimentId, attempt.attempt);
  const intent = attempt.payment?.intent;
  return buildRecordLine({
    ...experiment,
    verdict: experiment.judgement?.verdict ?? null,
    verification: experiment.judgement?.verification ?? null,
    state: end.state,
    settlement,
    workerEndpoint: attempt.workerEndpoint,
    workerId: attempt.workerId,
    workerAgentId: attempt.workerId?.split(':')[2] ?? null,
    chainName: intent?.chain.name ?? 'none',
    payer: intent?.payer ?? null,
    payTo: intent?.payTo ?? null,
    priceAtomic: attempt.valueAtomic,
    nonce: intent?.nonce ?? null,
    paymentTx: outcome?.kind === 'settled' ? outcome.tx : attempt.paymentTx,
    durationSeconds: experiment.result?.durationSeconds ?? null,
    startedAt: isoTime(experiment.createdAtMs),
    timestamp: isoTime(drive.nowMs),
    rawResult: reply ? toRawResult(reply.body) : null,
  });
}

/** Seconds after the end of the window at which waiting for a chain that cannot be read ends. */
const UNVERIFIED_WAIT_SECONDS = 60;

/** What became of an attempt's money, or null while that is open. */
export async function resolveFate(drive: Drive, experiment: Experiment, attempt: Attempt): Promise<Fate | null> {
  const { payment } = attempt;
  if (!payment) return { outcome: null, settlement: 'none' };
  if (attempt.state === 'settled') return { outcome: null, settlement: 'settled' };
  if (attempt.state === 'unpaid') return { outcome: null, settlement: 'unpaid' };
  const isOver = drive.nowMs / 1000 > payment.intent.validBefore + UNVERIFIED_WAIT_SECONDS;
  const chain = await drive.ports.desk.fetchState(attempt);
  switch (chain.kind) {
    case 'settled':
      return { outcome: { kind: 'settled', tx: chain.tx }, settlement: 'settled' };
    case 'expired':
    case 'cancelled':
      return { outcome: { kind: 'unpaid', reason: chain.kind }, settlement: 'unpaid' };
    case 'live':
      return null;
    case 'used':
      // A node that keeps no logs that far back cannot name the transaction; that the nonce is used is proof enough.
      return isOver ? { outcome: { kind: 'claimed', tx: attempt.claimedTx }, settlement: 'settled' } : null;
    case 'unverifiable':
      // A node that is away for a moment is no reason to publish less than it will say.
      if (attempt.claimedTx !== null && drive.nowMs - experiment.updatedAtMs > UNVERIFIED_WAIT_SECONDS * 1000)
        return { outcome: { kind: 'claimed', tx: attempt.claimedTx }, settlement: 'unknown' };
      return isOver ? { outcome: null, settlement: 'unknown' } : null;
  }
}
