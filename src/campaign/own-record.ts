import type { Db } from '../store/database.ts';

/** What we saw of a worker ourselves, over all experiments of this store. */
export interface OwnRecord {
  /** Runs that ended, whatever came out. */
  readonly runs: number;
  /** Runs with a score that counts. */
  readonly scored: number;
  /** Runs that were paid and whose result never came. */
  readonly lost: number;
  readonly lastSeenMs: number;
}

/** Loads our own record of every worker that we used, by endpoint. */
export async function loadOwnRecords(db: Db): Promise<Map<string, OwnRecord>> {
  const rows = await db
    .selectFrom('experiments')
    .where('worker_endpoint', 'is not', null)
    .where('state', 'in', ['published', 'failed', 'judged', 'lost'])
    .select((eb) => [
      'worker_endpoint',
      eb.fn.countAll<number>().as('runs'),
      eb.fn.count<number>('val_bpb').as('scored'),
      eb.fn.sum<number>(eb.case().when('state', '=', 'lost').then(1).else(0).end()).as('lost'),
      eb.fn.max('updated_at').as('last_seen'),
    ])
    .groupBy('worker_endpoint')
    .execute();
  return new Map(
    rows.flatMap((row) =>
      row.worker_endpoint === null
        ? []
        : [
            [
              row.worker_endpoint,
              { runs: row.runs, scored: row.scored, lost: row.lost, lastSeenMs: row.last_seen },
            ] as const,
          ],
    ),
  );
}

/**
 * Share of runs that gave what was paid for, from 0 to 1. A failing script is no fault of its worker; a lost result is.
 * A worker that nobody knows counts as slightly worse than one that never failed.
 */
export function reliability(record: OwnRecord | undefined): number {
  const runs = record?.runs ?? 0;
  const good = runs - (record?.lost ?? 0);
  return (good + 9) / (runs + 10);
}
