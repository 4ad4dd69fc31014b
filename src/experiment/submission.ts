import { canonicalJson, type Sha256, sha256 } from '../base/hash.ts';
import type { Db, Trx } from '../store/database.ts';
import { type Experiment, loadExperiment } from './experiment.ts';
import type { ExperimentState } from './states.ts';

/** What makes two submissions the same one. */
export interface Submission {
  /**
   * What the call is about, for recognising its repetition: the variant's hash, or a hash of the caller's words where
   * these may mean another variant each time.
   */
  readonly subject: Sha256;
  readonly workerRequest: string;
  readonly quoteId: string | null;
  readonly idempotencyKey: string | null;
  /** Run it although an equal variant ran or runs: a submission of its own. */
  readonly isRepeat?: boolean;
  readonly loop: { readonly loopId: string } | null;
}

/** Ends that cost nothing: what the caller then mends, such as a cap, deserves another try under the same default key. */
export const WITHOUT_PAYMENT: readonly ExperimentState[] = ['refused', 'cancelled', 'unpaid'];

/** The key of a submission: its caller's, else a hash of what makes it the same one. */
export function keyOf(submission: Submission): string {
  const { subject, workerRequest, quoteId, idempotencyKey, loop, isRepeat } = submission;
  if (idempotencyKey !== null) return idempotencyKey;
  const words = [subject, workerRequest, quoteId, loop?.loopId ?? null];
  return sha256(canonicalJson(isRepeat ? [...words, 'repeat'] : words));
}

/** Finds the experiment that the same submission already made or was answered with; undefined when it deserves another try. */
export async function findSubmitted(db: Db | Trx, submission: Submission): Promise<Experiment | undefined> {
  const known = await findByKey(db, keyOf(submission));
  if (!known || submission.idempotencyKey !== null) return known;
  if (WITHOUT_PAYMENT.includes(known.state)) return undefined;
  // What a worker spoilt for somebody else is no answer to who never asked that one.
  return isSpoilt(known) && (await isAnswered(db, keyOf(submission))) ? undefined : known;
}

/** Whether a key stands for an experiment that another submission made. */
async function isAnswered(db: Db | Trx, key: string): Promise<boolean> {
  return (await db.selectFrom('keys').select('key').where('key', '=', key).executeTakeFirst()) !== undefined;
}

function isSpoilt({ state, judgement }: Experiment): boolean {
  return state === 'lost' || judgement?.verdict === 'INVALID' || judgement?.verdict === 'SUSPECT';
}

/** Finds the experiment for which a key stands. */
export async function findByKey(db: Db | Trx, key: string): Promise<Experiment | undefined> {
  const own = db.selectFrom('experiments').select('experiment_id').where('idempotency_key', '=', key);
  const answered = db.selectFrom('keys').select('experiment_id').where('key', '=', key);
  const row = (await own.executeTakeFirst()) ?? (await answered.executeTakeFirst());
  return row && loadExperiment(db, row.experiment_id);
}

/**
 * Answers a submission with an experiment that another one made, once and for all: when that has ended, the same call
 * still means it.
 * @returns the experiment, or the one that the submission was answered with before
 */
export async function answerWith(
  trx: Trx,
  submission: Submission,
  experiment: Experiment,
  nowMs: number,
): Promise<Experiment> {
  const known = await findSubmitted(trx, submission);
  if (known) return known;
  const key = keyOf(submission);
  await retireKey(trx, key);
  await trx.insertInto('keys').values({ key, experiment_id: experiment.experimentId, created_at: nowMs }).execute();
  return experiment;
}

/** Frees a key for another try; what had it keeps a name of its own. */
export async function retireKey(trx: Trx, key: string): Promise<void> {
  await trx.deleteFrom('keys').where('key', '=', key).execute();
  await trx
    .updateTable('experiments')
    .set((eb) => ({ idempotency_key: eb(eb.val(`${key}/`), '||', eb.ref('experiment_id')) }))
    .where('idempotency_key', '=', key)
    .execute();
}
