import type { Db, Trx } from '../store/database.ts';
import type { Job } from '../worker/job.ts';

/** Keeps a paid job before it is followed: its token is the only way to the result. */
export async function saveJob(trx: Trx, about: { experimentId: string; attempt: number }, job: Job): Promise<void> {
  const row = { status_url: job.statusUrl, result_url: job.resultUrl, token: job.token, expires_at: job.expiresAtMs };
  await trx
    .insertInto('jobs')
    .values({ experiment_id: about.experimentId, attempt: about.attempt, ...row })
    .onConflict((conflict) => conflict.columns(['experiment_id', 'attempt']).doUpdateSet(row))
    .execute();
}

/** Loads the job of an attempt. */
export async function loadJob(db: Db, experimentId: string, attempt: number): Promise<Job | undefined> {
  const row = await db
    .selectFrom('jobs')
    .selectAll()
    .where('experiment_id', '=', experimentId)
    .where('attempt', '=', attempt)
    .executeTakeFirst();
  return row && { statusUrl: row.status_url, resultUrl: row.result_url, token: row.token, expiresAtMs: row.expires_at };
}
