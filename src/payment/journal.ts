import * as z from 'zod';
import { readJson } from '../base/json.ts';
import type { Db, Trx } from '../store/database.ts';
import { type AttemptState, type StoredTerms, selectAttempt } from './attempt.ts';
import { type Caps, closeReservation, refuteSpending, reserve } from './budget.ts';
import type { JournaledHeader, PaymentIntent } from './intent.ts';

export interface NewAttempt {
  readonly workerEndpoint: string;
  readonly workerId: string | null;
  readonly loopId: string | null;
}

/**
 * Writes the intent of an attempt and reserves its price, in the caller's transaction. The intent counts as journaled
 * only once that transaction is committed: load it with `loadAttempt` afterwards.
 * @throws OverBudgetError when a cap would be exceeded
 */
export async function writeIntent(
  trx: Trx,
  target: NewAttempt,
  intent: PaymentIntent,
  terms: StoredTerms,
  fromBlock: bigint | null,
  caps: Caps,
  nowMs: number,
): Promise<void> {
  await trx
    .insertInto('attempts')
    .values({
      experiment_id: intent.experimentId,
      attempt: intent.attempt,
      worker_endpoint: target.workerEndpoint,
      worker_id: target.workerId,
      chain_id: intent.chain.chainId,
      payer: intent.payer,
      pay_to: intent.payTo,
      value: Number(intent.valueAtomic),
      valid_before: intent.validBefore,
      nonce: intent.nonce,
      terms: JSON.stringify(terms),
      state: 'intent' satisfies AttemptState,
      sends: 0,
      from_block: fromBlock === null ? null : Number(fromBlock),
      created_at: nowMs,
      updated_at: nowMs,
    })
    .execute();
  const { experimentId, attempt, valueAtomic } = intent;
  await reserve(trx, { experimentId, attempt, loopId: target.loopId, amountAtomic: valueAtomic }, caps, nowMs);
}

/** Writes an attempt at a worker that asks for no payment. */
export async function writeFreeAttempt(
  trx: Trx,
  experimentId: string,
  attempt: number,
  target: NewAttempt,
  nowMs: number,
): Promise<void> {
  await trx
    .insertInto('attempts')
    .values({
      experiment_id: experimentId,
      attempt,
      worker_endpoint: target.workerEndpoint,
      worker_id: target.workerId,
      chain_id: 0,
      value: 0,
      terms: '{}',
      state: 'free' satisfies AttemptState,
      sends: 0,
      created_at: nowMs,
      updated_at: nowMs,
    })
    .execute();
}

const StoredHeader = z.object({ name: z.enum(['PAYMENT-SIGNATURE', 'X-PAYMENT']), value: z.string().min(1) });

function isJournaledHeader(_header: z.infer<typeof StoredHeader>): _header is JournaledHeader {
  return true;
}

/** Writes the signed header; an attempt that has one keeps it, so that every send carries the same bytes. */
export async function writeHeader(
  trx: Trx,
  experimentId: string,
  attempt: number,
  header: z.infer<typeof StoredHeader>,
  nowMs: number,
): Promise<void> {
  await trx
    .updateTable('attempts')
    .set({ header: JSON.stringify(header), state: 'signed' satisfies AttemptState, updated_at: nowMs })
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .where('state', '=', 'intent' satisfies AttemptState)
    .execute();
}

/** Hands out the payment header that is on disk, for the send and nothing else. */
export async function loadHeader(db: Db, experimentId: string, attempt: number): Promise<JournaledHeader | undefined> {
  const row = await selectAttempt(db, experimentId, attempt);
  if (!row?.header) return undefined;
  const header = readJson(StoredHeader, row.header);
  return isJournaledHeader(header) ? header : undefined;
}

/**
 * Notes, before the first byte, that the header is being sent.
 * @throws TypeError when the attempt is not signed or its reservation is released: nothing may be sent then
 */
export async function writeSent(trx: Trx, experimentId: string, attempt: number, nowMs: number): Promise<void> {
  const updated = await trx
    .updateTable('attempts')
    .set((eb) => ({
      state: eb.case().when('state', '=', 'signed').then('sent').else(eb.ref('state')).end(),
      sends: eb('sends', '+', 1),
      first_sent_at: eb.fn.coalesce('first_sent_at', eb.val(nowMs)),
      updated_at: nowMs,
    }))
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .where('state', 'not in', ['intent', 'unpaid'] satisfies AttemptState[])
    .executeTakeFirst();
  if (updated.numUpdatedRows !== 1n) throw new TypeError(`${experimentId} has no payment that may be sent`);
}

/** Notes that one send provably reached nobody; the first of them then leaves the authorization unsent. */
export async function writeNotSent(trx: Trx, experimentId: string, attempt: number, nowMs: number): Promise<void> {
  await trx
    .updateTable('attempts')
    .set((eb) => ({
      state: eb
        .case()
        .when(eb.and([eb('state', '=', 'sent'), eb('sends', '=', 1)]))
        .then('signed')
        .else(eb.ref('state'))
        .end(),
      first_sent_at: eb.case().when('sends', '=', 1).then(null).else(eb.ref('first_sent_at')).end(),
      sends: eb('sends', '-', 1),
      updated_at: nowMs,
    }))
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .execute();
}

export type AuthorizationOutcome =
  | { readonly kind: 'settled'; readonly tx: string }
  | { readonly kind: 'claimed'; readonly tx: string | null }
  | { readonly kind: 'unpaid'; readonly reason: string };

/**
 * Ends an authorization and its reservation together. A settled one is never changed again; one that was only claimed
 * may turn out unpaid.
 */
export async function writeOutcome(
  trx: Trx,
  experimentId: string,
  attempt: number,
  outcome: AuthorizationOutcome,
  nowMs: number,
): Promise<void> {
  const before = await selectAttempt(trx, experimentId, attempt);
  await trx
    .updateTable('attempts')
    .set({
      state: outcome.kind,
      updated_at: nowMs,
      ...(outcome.kind === 'settled' ? { payment_tx: outcome.tx } : {}),
      ...(outcome.kind === 'claimed' ? { claimed_tx: outcome.tx } : {}),
      ...(outcome.kind === 'unpaid' ? { reason: outcome.reason } : {}),
    })
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .where('state', 'not in', ['settled', 'unpaid', 'free'] satisfies AttemptState[])
    .execute();
  if (before?.state === 'claimed' && outcome.kind === 'unpaid')
    return refuteSpending(trx, experimentId, attempt, nowMs);
  await closeReservation(trx, experimentId, attempt, outcome.kind === 'unpaid' ? 'released' : 'spent', nowMs);
}

/** Notes which transaction a worker's receipt names, without believing it. */
export async function writeClaimedTx(trx: Trx, experimentId: string, attempt: number, tx: string): Promise<void> {
  await trx
    .updateTable('attempts')
    .set({ claimed_tx: tx })
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .execute();
}
