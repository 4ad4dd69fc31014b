import { sql } from 'kysely';
import type { AtomicUsdc } from '../base/money.ts';
import type { Db } from '../store/database.ts';
import type { UsualRun } from './own-record.ts';

/** A worker as runs that wait for one see it. */
export interface Pace {
  /** When its run is expected to end; now for a free one, Unix milliseconds. */
  readonly freeAtMs: number;
  /** Usual duration of a run on it, milliseconds. */
  readonly runMs: number;
  /** What it asked last. */
  readonly priceAtomic: AtomicUsdc;
}

/** What is known of the time that runs take: the choice of a worker may then be to wait. */
export interface Outlook {
  /** Runs that wait for a worker, this one included, and proposals that will. */
  readonly waiting: number;
  /** Workers whose pace is known, by endpoint. */
  readonly paces: ReadonlyMap<string, Pace>;
}

/** A worker that is so far behind its usual duration may never end. */
const OVERDUE_MS = 60_000;
/** Nothing waits longer for a better worker than this, in milliseconds. */
const MAX_WAIT_MS = 5 * 60_000;

/**
 * Whether to start on a free worker now: no, if busy ones that are no dearer end everything that waits before it would
 * end this one. Among equal runs on workers of unequal speed this is the order that ends first.
 * @param free the worker that would be started on
 * @param busy endpoints of workers that would be chosen before it, were they free
 * @param sinceMs since when the run waits
 */
export function isWorthStarting(
  free: { readonly endpoint: string; readonly priceAtomic: AtomicUsdc },
  busy: readonly string[],
  { waiting, paces }: Outlook,
  nowMs: number,
  sinceMs = nowMs,
): boolean {
  const own = paces.get(free.endpoint);
  if (!own) return true;
  const endsAtMs = nowMs + own.runMs;
  const earlier = busy.flatMap((endpoint) => {
    const pace = paces.get(endpoint);
    if (!pace || pace.priceAtomic > free.priceAtomic || nowMs - pace.freeAtMs > OVERDUE_MS) return [];
    if (Math.max(pace.freeAtMs, nowMs) - sinceMs > MAX_WAIT_MS) return [];
    const spareMs = endsAtMs - Math.max(pace.freeAtMs, nowMs);
    return [Math.max(0, Math.floor(spareMs / Math.max(1, pace.runMs)))];
  });
  return earlier.reduce((sum, runs) => sum + runs, 0) < waiting;
}

/** Reads from the store how much waits and when busy workers are expected to be free. @param usual pace by endpoint */
export async function loadOutlook(db: Db, usual: ReadonlyMap<string, UsualRun>, nowMs: number): Promise<Outlook> {
  const running = await db
    .selectFrom('slots')
    .innerJoin('experiments', 'experiments.experiment_id', 'slots.experiment_id')
    .leftJoin('attempts', (join) =>
      join
        .onRef('attempts.experiment_id', '=', 'experiments.experiment_id')
        .onRef('attempts.attempt', '=', 'experiments.attempt'),
    )
    .where('slots.until', '>=', nowMs)
    .select(['slots.worker_endpoint', 'attempts.first_sent_at'])
    .execute();
  const sentAt = new Map(
    running.map(({ worker_endpoint, first_sent_at }) => [worker_endpoint, first_sent_at ?? nowMs]),
  );
  const paces = [...usual].map(([endpoint, { seconds, priceAtomic }]) => {
    const runMs = seconds * 1_000;
    const startedAtMs = sentAt.get(endpoint);
    return [
      endpoint,
      { runMs, priceAtomic, freeAtMs: startedAtMs === undefined ? nowMs : startedAtMs + runMs },
    ] as const;
  });
  return { waiting: await countWaiting(db), paces: new Map(paces) };
}

/** Runs without a worker, and proposals that running loops have queued or, in mode auto, will still design. */
async function countWaiting(db: Db): Promise<number> {
  const [open, queued] = await Promise.all([
    db
      .selectFrom('experiments')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .where('finished_at', 'is', null)
      .where('state', 'in', ['drafted', 'claimed'])
      .where('experiment_id', 'not in', (eb) => eb.selectFrom('slots').select('slots.experiment_id'))
      .executeTakeFirstOrThrow(),
    db
      .selectFrom('loops')
      .select((eb) => [
        sql<number>`json_array_length(queue)`.as('queued'),
        sql<number>`settings ->> '$.rounds'`.as('rounds'),
        sql<string | null>`settings ->> '$.mode'`.as('mode'),
        eb
          .selectFrom('experiments')
          .select((run) => run.fn.countAll<number>().as('count'))
          .whereRef('experiments.loop_id', '=', 'loops.loop_id')
          .where('experiments.role', '=', 'round')
          .as('started'),
      ])
      .where('state', '=', 'running')
      .execute(),
  ]);
  const ahead = queued.map(({ queued: now, rounds, mode, started }) =>
    mode === 'auto' ? Math.max(now, rounds - (started ?? 0)) : now,
  );
  // Whoever asks is waiting.
  return Math.max(
    1,
    ahead.reduce((sum, count) => sum + count, open.count),
  );
}
