import { workerExperimentId } from '../base/ids.ts';
import type { Attempt } from '../payment/attempt.ts';
import type { Db, Trx } from '../store/database.ts';
import type { ExpectedRun } from '../worker/result.ts';
import type { Experiment } from './experiment.ts';

/** What an answer to an attempt has to be about. */
export function expectRun(experiment: Experiment, attempt: Attempt): ExpectedRun {
  return {
    workerExperimentId: workerExperimentId(experiment.experimentId, attempt.attempt),
    trainHash: experiment.trainHash,
    config: experiment.config,
  };
}

/** An answer of a worker as received. */
export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** Keeps an answer before anybody reads it: it was paid for. */
export async function saveReply(
  trx: Trx,
  about: { experimentId: string; attempt: number },
  reply: Reply,
  nowMs: number,
): Promise<void> {
  await trx
    .insertInto('replies')
    .values({
      experiment_id: about.experimentId,
      attempt: about.attempt,
      status: reply.status,
      headers: JSON.stringify(reply.headers),
      body: reply.body,
      received_at: nowMs,
    })
    .execute();
}

/** How often a worker answered an attempt with "busy", which says that nothing ran and nothing was paid. */
export async function countBusyReplies(db: Db, experimentId: string, attempt: number): Promise<number> {
  const row = await db
    .selectFrom('replies')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .where('status', 'in', [409, 429])
    .executeTakeFirstOrThrow();
  return row.count;
}

/** The newest answer with status 200 to an attempt: its result. */
export async function loadResultReply(
  db: Db,
  experimentId: string,
  attempt: number,
): Promise<{ body: Uint8Array; receivedAtMs: number } | undefined> {
  const row = await db
    .selectFrom('replies')
    .select(['body', 'received_at'])
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .where('status', '=', 200)
    .orderBy('reply', 'desc')
    .executeTakeFirst();
  return row && { body: row.body, receivedAtMs: row.received_at };
}
