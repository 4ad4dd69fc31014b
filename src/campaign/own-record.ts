import { type AtomicUsdc, atomicUsdc } from '../base/money.ts';
import { VERDICTS_THAT_COUNT } from '../leaderboard/standings.ts';
import type { AttemptState } from '../payment/attempt.ts';
import type { Db } from '../store/database.ts';
import { groupBy, mean } from './evidence.ts';

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

/** The same with what costs a look at single runs. */
export interface TrackRecord extends OwnRecord {
  /** Half of its newest scored runs took no longer, from our sending to its answer; null without such a run. */
  readonly medianDurationSeconds: number | null;
  /** What it was paid last; null when it never was. */
  readonly lastPriceAtomic: AtomicUsdc | null;
}

const PAID: readonly AttemptState[] = ['settled', 'claimed'];
/** Workers change their hardware: older runs say little about the next. Odd, so that the median is one of them. */
const NEWEST_RUNS = 21;
/** Runs of all workers that say how fast each is. */
const NEWEST_OF_ALL = 500;
/** Bound variables of one statement: beyond this all workers are counted. */
const MAX_LISTED = 500;

/**
 * Counts our own runs by worker endpoint; workers without a run are missing.
 * @param endpoints only these; absent: all that we used
 */
export async function loadOwnRecords(db: Db, endpoints?: readonly string[]): Promise<Map<string, OwnRecord>> {
  if (endpoints?.length === 0) return new Map();
  let query = db.selectFrom('worker_tallies').selectAll().where('runs', '>', 0);
  if (endpoints && endpoints.length <= MAX_LISTED) query = query.where('worker_endpoint', 'in', endpoints);
  const rows = await query.execute();
  return new Map(
    rows.map(({ worker_endpoint, runs, scored, lost, seen_at }) => [
      worker_endpoint,
      { runs, scored, lost, lastSeenMs: seen_at },
    ]),
  );
}

/** Loads our track record of each of these workers that we used. */
export async function loadTrackRecords(db: Db, endpoints: readonly string[]): Promise<Map<string, TrackRecord>> {
  const records = await loadOwnRecords(db, endpoints);
  const tracks = new Map<string, TrackRecord>();
  for (const endpoint of endpoints) {
    const record = records.get(endpoint);
    if (!record) continue;
    const [medianDurationSeconds, lastPriceAtomic] = [
      await loadMedianDuration(db, endpoint),
      await loadLastPrice(db, endpoint),
    ];
    tracks.set(endpoint, { ...record, medianDurationSeconds, lastPriceAtomic });
  }
  return tracks;
}

async function loadMedianDuration(db: Db, endpoint: string): Promise<number | null> {
  const rows = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('experiments')
        .select(['experiment_id', 'attempt'])
        .where('worker_endpoint', '=', endpoint)
        .where('verdict', 'in', VERDICTS_THAT_COUNT)
        .orderBy('updated_at', 'desc')
        .limit(NEWEST_RUNS)
        .as('newest'),
    )
    .innerJoin('attempts', (join) =>
      join
        .onRef('attempts.experiment_id', '=', 'newest.experiment_id')
        .onRef('attempts.attempt', '=', 'newest.attempt'),
    )
    .innerJoin('replies', (join) =>
      join.onRef('replies.experiment_id', '=', 'newest.experiment_id').onRef('replies.attempt', '=', 'newest.attempt'),
    )
    .select((eb) => ['attempts.first_sent_at', eb.fn.max('replies.received_at').as('received_at')])
    .where('attempts.first_sent_at', 'is not', null)
    .where('replies.status', '=', 200)
    .groupBy(['newest.experiment_id', 'attempts.first_sent_at'])
    .execute();
  const durations = rows
    .flatMap(({ first_sent_at, received_at }) => (first_sent_at === null ? [] : [received_at - first_sent_at]))
    .toSorted((a, b) => a - b);
  const median = durations[Math.floor((durations.length - 1) / 2)];
  return median === undefined ? null : Math.round(median / 100) / 10;
}

/** What a run on a worker usually takes. */
export interface UsualRun {
  /** From our sending to its answer, the mean of its newest scored runs. */
  readonly seconds: number;
  /** What it asked for the newest of them. */
  readonly priceAtomic: AtomicUsdc;
  /** Whether it took the newest as a job (HTTP 202): a result that is fetched is lost less easily than one held open. */
  readonly isJob: boolean;
}

/** Loads what a run usually takes by worker endpoint, from our newest scored runs; others are missing. */
export async function loadUsualRuns(db: Db): Promise<Map<string, UsualRun>> {
  const rows = await db
    .selectFrom('experiments')
    .innerJoin('attempts', (join) =>
      join
        .onRef('attempts.experiment_id', '=', 'experiments.experiment_id')
        .onRef('attempts.attempt', '=', 'experiments.attempt'),
    )
    .innerJoin('replies', (join) =>
      join
        .onRef('replies.experiment_id', '=', 'experiments.experiment_id')
        .onRef('replies.attempt', '=', 'experiments.attempt'),
    )
    .select((eb) => [
      'experiments.worker_endpoint',
      'attempts.value',
      'attempts.first_sent_at',
      'replies.received_at',
      eb
        .exists(
          eb
            .selectFrom('replies as taken')
            .select('taken.reply')
            .whereRef('taken.experiment_id', '=', 'replies.experiment_id')
            .whereRef('taken.attempt', '=', 'replies.attempt')
            .where('taken.status', '=', 202),
        )
        .as('is_job'),
    ])
    .where('experiments.verdict', 'in', VERDICTS_THAT_COUNT)
    .where('replies.status', '=', 200)
    .orderBy('replies.reply', 'desc')
    .limit(NEWEST_OF_ALL)
    .execute();
  const runs = rows.flatMap(({ worker_endpoint: endpoint, first_sent_at: sentAt, received_at, value, is_job }) =>
    endpoint === null || sentAt === null
      ? []
      : [{ endpoint, tookMs: received_at - sentAt, value, isJob: Boolean(is_job) }],
  );
  return new Map(
    groupBy(runs, ({ endpoint }) => endpoint).flatMap((own) => {
      const [newest] = own;
      if (!newest) return [];
      const seconds = Math.round(mean(own.map(({ tookMs }) => tookMs)) / 100) / 10;
      return [[newest.endpoint, { seconds, priceAtomic: atomicUsdc(newest.value), isJob: newest.isJob }] as const];
    }),
  );
}

async function loadLastPrice(db: Db, endpoint: string): Promise<AtomicUsdc | null> {
  const row = await db
    .selectFrom('attempts')
    .select('value')
    .where('worker_endpoint', '=', endpoint)
    .where('state', 'in', PAID)
    .orderBy('updated_at', 'desc')
    .executeTakeFirst();
  return row ? atomicUsdc(row.value) : null;
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
