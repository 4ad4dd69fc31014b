import type { Db } from '../store/database.ts';

/** `async`: a broker took the experiment as a job (HTTP 202); `sync`: the answer was the result. */
export type WorkerMode = 'sync' | 'async';

/** How a worker answered its newest experiment of ours; null while it has had none: nothing in an offer tells it. */
export async function loadWorkerMode(db: Db, workerEndpoint: string): Promise<WorkerMode | null> {
  const row = await db
    .selectFrom('attempts')
    .innerJoin('replies', (join) =>
      join
        .onRef('replies.experiment_id', '=', 'attempts.experiment_id')
        .onRef('replies.attempt', '=', 'attempts.attempt'),
    )
    .select('replies.status')
    .where('attempts.worker_endpoint', '=', workerEndpoint)
    .where('replies.status', 'in', [200, 202])
    .orderBy('attempts.created_at', 'desc')
    // The result of a job is filed beside the answer that took it.
    .orderBy('replies.status', 'desc')
    .limit(1)
    .executeTakeFirst();
  if (!row) return null;
  return row.status === 202 ? 'async' : 'sync';
}
