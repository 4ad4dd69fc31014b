import * as z from 'zod';
import { findChain } from '../base/chains.ts';
import { JsonObject, readJson } from '../base/json.ts';
import { type AtomicUsdc, atomicUsdc } from '../base/money.ts';
import type { Db, Trx } from '../store/database.ts';
import type { JournaledIntent, PaymentIntent } from './intent.ts';

/**
 * Life of an attempt's authorization (x402.md section 8.3). `free` is an attempt at a worker that asks for no payment.
 */
export const ATTEMPT_STATES = ['free', 'intent', 'signed', 'sent', 'claimed', 'settled', 'unpaid'] as const;
export type AttemptState = (typeof ATTEMPT_STATES)[number];

/** The chosen offer with its envelope, as the payment has to echo them. */
const StoredTerms = z.object({
  x402Version: z.union([z.literal(1), z.literal(2)]),
  network: z.string(),
  flow: z.enum(['authorization', 'upfront']),
  isInBody: z.boolean(),
  envelope: JsonObject,
  offer: JsonObject,
});
export type StoredTerms = z.infer<typeof StoredTerms>;

/** One attempt as the journal has it. The header is left out: only `loadHeader` hands it out. */
export interface Attempt {
  readonly experimentId: string;
  readonly attempt: number;
  readonly workerEndpoint: string;
  readonly workerId: string | null;
  readonly state: AttemptState;
  readonly valueAtomic: AtomicUsdc;
  /** Null for a free worker. */
  readonly payment: { readonly intent: JournaledIntent; readonly terms: StoredTerms } | null;
  readonly sends: number;
  /** Unix milliseconds of the first byte sent; null when none ever was. */
  readonly firstSentAtMs: number | null;
  readonly fromBlock: bigint | null;
  readonly paymentTx: string | null;
  /** Transaction that the worker's receipt names; a claim. */
  readonly claimedTx: string | null;
}

type JournalRow = Awaited<ReturnType<typeof selectAttempt>>;

/** The row of an attempt, its header included: only the journal hands that out. */
export function selectAttempt(db: Db | Trx, experimentId: string, attempt: number) {
  return db
    .selectFrom('attempts')
    .selectAll()
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .executeTakeFirst();
}

/** Loads one attempt; what it holds is on disk. */
export async function loadAttempt(db: Db, experimentId: string, attempt: number): Promise<Attempt | undefined> {
  const row = await selectAttempt(db, experimentId, attempt);
  return row && parseRow(row);
}

/** Loads every attempt of an experiment, oldest first. */
export async function loadAttempts(db: Db, experimentId: string): Promise<Attempt[]> {
  const rows = await db
    .selectFrom('attempts')
    .selectAll()
    .where('experiment_id', '=', experimentId)
    .orderBy('attempt')
    .execute();
  return rows.map(parseRow);
}

function parseRow(row: NonNullable<JournalRow>): Attempt {
  return {
    experimentId: row.experiment_id,
    attempt: row.attempt,
    workerEndpoint: row.worker_endpoint,
    workerId: row.worker_id,
    state: z.enum(ATTEMPT_STATES).parse(row.state),
    valueAtomic: atomicUsdc(row.value),
    payment: row.state === 'free' ? null : { intent: parseIntent(row), terms: readJson(StoredTerms, row.terms) },
    sends: row.sends,
    firstSentAtMs: row.first_sent_at,
    fromBlock: row.from_block === null ? null : BigInt(row.from_block),
    paymentTx: row.payment_tx,
    claimedTx: row.claimed_tx,
  };
}

const Hex = z.templateLiteral(['0x', z.string().regex(/^[0-9a-fA-F]+$/)]);
const IntentColumns = z.object({ payer: Hex, pay_to: Hex, valid_before: z.int(), nonce: Hex });

function isJournaled(_intent: PaymentIntent): _intent is JournaledIntent {
  return true;
}

function parseIntent(row: NonNullable<JournalRow>): JournaledIntent {
  const columns = IntentColumns.parse(row);
  const chain = findChain(row.chain_id);
  if (!chain) throw new RangeError(`the journal names chain ${row.chain_id}, which this version does not know`);
  const intent: PaymentIntent = {
    experimentId: row.experiment_id,
    attempt: row.attempt,
    chain,
    payer: columns.payer,
    payTo: columns.pay_to,
    valueAtomic: atomicUsdc(row.value),
    validBefore: columns.valid_before,
    nonce: columns.nonce,
  };
  // The one place that brands: the row was read back from the store, so it is committed.
  if (!isJournaled(intent)) throw new TypeError('unreachable');
  return intent;
}
