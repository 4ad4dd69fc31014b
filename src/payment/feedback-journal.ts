import * as z from 'zod';
import { CoordinatorError } from '../base/errors.ts';
import { readJson } from '../base/json.ts';
import type { Db, Trx } from '../store/database.ts';
import type { FeedbackPlan, JournaledFeedback } from './feedback-transaction.ts';
import { assertNotFrozen } from './freeze.ts';

/** Life of a feedback: on disk, signed, sent, and what became of it. */
export const FEEDBACK_STATES = ['intent', 'signed', 'sent', 'confirmed', 'reverted', 'replaced'] as const;
export type FeedbackState = (typeof FEEDBACK_STATES)[number];

/** A rating as people are told about it. */
export const FeedbackAbout = z.object({
  because: z.string(),
  /** Why the file proves no payment; null when it does. */
  proofProblem: z.string().nullable(),
});
export type FeedbackAbout = z.infer<typeof FeedbackAbout>;

/** One feedback as the journal has it. */
export interface JournaledRow {
  readonly id: number;
  readonly workerId: string;
  readonly plan: JournaledFeedback;
  readonly about: FeedbackAbout;
  readonly state: FeedbackState;
  readonly signed: { readonly raw: `0x${string}`; readonly tx: `0x${string}` } | null;
  readonly feedbackIndex: bigint | null;
  /** Unix milliseconds. */
  readonly createdAtMs: number;
}

/** Another feedback is on its way: an account's transactions are numbered, so one waits for the other. */
export class FeedbackBusyError extends CoordinatorError {
  override readonly name = 'FeedbackBusyError';
  readonly code = 'feedback_busy';
  readonly nextStep: string;
  constructor(readonly experimentId: string) {
    super(
      `The feedback about ${experimentId} of the same account is not on the chain yet. Nothing was signed or sent.`,
    );
    this.nextStep = `Finish it first: autoresearch-coordinator feedback ${experimentId} --send`;
  }
}

/** A plan that nobody signed within this time is made anew, since fees have moved on, in milliseconds. */
const STALE_INTENT_MS = 180_000;
/** States of which one experiment has at most one feedback. */
const STANDING: readonly FeedbackState[] = ['intent', 'signed', 'sent', 'confirmed'];
const OPEN: readonly FeedbackState[] = ['intent', 'signed', 'sent'];

const Hex = z.templateLiteral(['0x', z.string().regex(/^[0-9a-fA-F]*$/)]);
const Whole = z.string().regex(/^\d+$/).transform(BigInt);
const StoredPlan = z.object({
  experimentId: z.string(),
  chainId: z.int(),
  client: Hex,
  call: z.object({ agentId: Whole, value: Whole, endpoint: z.string(), feedbackUri: z.string(), feedbackHash: Hex }),
  nonce: z.int(),
  gasLimit: Whole,
  maxFeePerGas: Whole,
  maxPriorityFeePerGas: Whole,
}) satisfies z.ZodType<FeedbackPlan>;

type Row = NonNullable<Awaited<ReturnType<typeof selectStanding>>>;

function selectStanding(db: Db | Trx, experimentId: string) {
  return db
    .selectFrom('feedbacks')
    .selectAll()
    .where('experiment_id', '=', experimentId)
    .where('state', 'in', STANDING)
    .executeTakeFirst();
}

/** The feedback about an experiment that is given or on its way; undefined when there is none. */
export async function loadFeedback(db: Db, experimentId: string): Promise<JournaledRow | undefined> {
  const row = await selectStanding(db, experimentId);
  return row && parseRow(row);
}

/** Whether a plan still waits for a signature that it may be given. */
export function isSignable({ state, createdAtMs }: JournaledRow, nowMs: number): boolean {
  return state === 'intent' && nowMs - createdAtMs <= STALE_INTENT_MS;
}

/**
 * Writes what is about to be signed, so that no crash makes it be given twice. Plans that nobody signed in time are
 * dropped: what was never signed was never sent.
 * @returns the plan, on disk
 * @throws FeedbackBusyError while another feedback of the account, or of the experiment, is on its way
 * @throws FrozenError
 */
export async function writeFeedback(
  db: Db,
  plan: FeedbackPlan,
  workerId: string,
  about: FeedbackAbout,
  nowMs: number,
): Promise<JournaledRow> {
  const client = plan.client.toLowerCase();
  await db.transaction().execute(async (trx) => {
    await assertNotFrozen(trx);
    await trx
      .deleteFrom('feedbacks')
      .where('state', '=', 'intent' satisfies FeedbackState)
      .where('created_at', '<', nowMs - STALE_INTENT_MS)
      .execute();
    const busy = await trx
      .selectFrom('feedbacks')
      .select('experiment_id')
      .where((eb) =>
        eb.or([
          eb('experiment_id', '=', plan.experimentId).and('state', 'in', STANDING),
          eb('client', '=', client).and('chain_id', '=', plan.chainId).and('state', 'in', OPEN),
        ]),
      )
      .executeTakeFirst();
    if (busy) throw new FeedbackBusyError(busy.experiment_id);
    await trx
      .insertInto('feedbacks')
      .values({
        experiment_id: plan.experimentId,
        worker_id: workerId,
        chain_id: plan.chainId,
        client,
        plan: JSON.stringify(plan, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)),
        about: JSON.stringify(about),
        state: 'intent' satisfies FeedbackState,
        created_at: nowMs,
        updated_at: nowMs,
      })
      .execute();
  });
  const written = await loadFeedback(db, plan.experimentId);
  if (!written) throw new FeedbackBusyError(plan.experimentId);
  return written;
}

/**
 * Writes the signed transaction; from now on it is the only one that is sent for this feedback.
 * @returns false when the plan was dropped meanwhile: the signature must not be used
 */
export async function writeSignedFeedback(
  db: Db,
  id: number,
  signed: NonNullable<JournaledRow['signed']>,
  nowMs: number,
): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const { numUpdatedRows } = await trx
      .updateTable('feedbacks')
      .set({ ...signed, state: 'signed' satisfies FeedbackState, updated_at: nowMs })
      .where('feedback', '=', id)
      .where('state', '=', 'intent' satisfies FeedbackState)
      .executeTakeFirst();
    return numUpdatedRows === 1n;
  });
}

/** Drops a plan that was not signed. */
export async function dropFeedback(db: Db, id: number): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx
      .deleteFrom('feedbacks')
      .where('feedback', '=', id)
      .where('state', '=', 'intent' satisfies FeedbackState)
      .execute();
  });
}

/** Writes what became of a signed feedback; a final state stays. */
export async function writeFeedbackState(
  db: Db,
  id: number,
  state: Exclude<FeedbackState, 'intent' | 'signed'>,
  feedbackIndex: bigint | null,
  nowMs: number,
): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await trx
      .updateTable('feedbacks')
      .set({ state, feedback_index: feedbackIndex?.toString() ?? null, updated_at: nowMs })
      .where('feedback', '=', id)
      .where('state', 'in', ['signed', 'sent'] satisfies FeedbackState[])
      .execute();
  });
}

function isJournaled(_plan: FeedbackPlan): _plan is JournaledFeedback {
  return true;
}

function parseRow(row: Row): JournaledRow {
  const plan: FeedbackPlan = readJson(StoredPlan, row.plan);
  // The one place that brands: the row was read back from the store, so it is committed.
  if (!isJournaled(plan)) throw new TypeError('unreachable');
  return {
    id: row.feedback,
    workerId: row.worker_id,
    plan,
    about: readJson(FeedbackAbout, row.about),
    state: z.enum(FEEDBACK_STATES).parse(row.state),
    signed: row.raw === null ? null : { raw: Hex.parse(row.raw), tx: Hex.parse(row.tx) },
    feedbackIndex: row.feedback_index === null ? null : BigInt(row.feedback_index),
    createdAtMs: row.created_at,
  };
}
