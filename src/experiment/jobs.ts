import type { Db, Trx } from '../store/database.ts';
import type { Job } from '../worker/job.ts';
import { readJobId } from '../worker/job-list.ts';

/** What is stored in place of the token of a job that opens with a wallet sign-in; no broker's token is empty. */
const NO_TOKEN = '';

/** Keeps a paid job before it is followed. */
export async function saveJob(trx: Trx, about: { experimentId: string; attempt: number }, job: Job): Promise<void> {
  const row = {
    status_url: job.statusUrl,
    result_url: job.resultUrl,
    token: job.token ?? NO_TOKEN,
    expires_at: job.expiresAtMs,
  };
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
  if (!row) return undefined;
  const token = row.token === NO_TOKEN ? null : row.token;
  return { statusUrl: row.status_url, resultUrl: row.result_url, token, expiresAtMs: row.expires_at };
}

/** Ids of the jobs that answers to other attempts named: none of them is the job of this one. */
export async function loadKnownJobIds(
  db: Db,
  about: { experimentId: string; attempt: number; firstSentAtMs: number | null },
): Promise<ReadonlySet<string>> {
  const rows = await db
    .selectFrom('jobs')
    .select('status_url')
    // A job from a list may be that of either attempt that follows it: only a 202 settles whose it is.
    .where('token', '!=', NO_TOKEN)
    .where('expires_at', '>=', about.firstSentAtMs ?? 0)
    .where((eb) => eb.or([eb('experiment_id', '!=', about.experimentId), eb('attempt', '!=', about.attempt)]))
    .execute();
  return new Set(rows.flatMap((row) => readJobId(row.status_url) ?? []));
}
