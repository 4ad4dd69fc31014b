import { type ExpressionBuilder, sql } from 'kysely';
import type { Db } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';

/** One row of the ranking of variants. */
export interface VariantStanding {
  readonly rank: number;
  /** The first of its runs; what follows but the score is of this one. */
  readonly experimentId: string;
  /** Mean of its runs. */
  readonly valBpb: number;
  readonly runs: number;
  readonly verdict: string | null;
  readonly description: string;
  readonly workerEndpoint: string | null;
  readonly priceAtomic: number;
  readonly paymentTx: string | null;
  readonly trainHash: string;
  readonly rootHash: string;
  readonly createdAtMs: number;
}

/** Verdicts of runs whose score may be compared: finite, plausible, of exactly the variant that was sent. */
export const VERDICTS_THAT_COUNT = ['BASELINE', 'KEEP', 'KEEP-SIMPLER', 'RETEST', 'DISCARD'];

/**
 * Ranks variants by the mean of their scores that count, lowest first; on another tier a variant has a place of its own.
 * Only results of runs that we sent and whose hash, status and range were checked are among them.
 * @param offset how many rows to skip
 */
export async function loadVariantStandings(
  db: Db,
  limit: number,
  offset: number,
): Promise<{ rows: VariantStanding[]; total: number }> {
  const { total } = await db.selectFrom('variant_count').select('total').executeTakeFirstOrThrow();
  const rows = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('variant_scores')
        .selectAll()
        .orderBy('mean')
        .orderBy('created_at')
        .limit(limit)
        .offset(offset)
        .as('score'),
    )
    .innerJoin('experiments', 'experiments.experiment_id', 'score.experiment_id')
    .leftJoin('attempts', (join) =>
      join
        .onRef('attempts.experiment_id', '=', 'experiments.experiment_id')
        .onRef('attempts.attempt', '=', 'experiments.attempt'),
    )
    .select([
      'score.experiment_id',
      'score.mean',
      'score.runs',
      'score.created_at',
      'experiments.verdict',
      'experiments.description',
      'experiments.worker_endpoint',
      'experiments.train_hash',
      'experiments.root_hash',
      'attempts.value',
      'attempts.payment_tx',
    ])
    .orderBy('score.mean')
    .orderBy('score.created_at')
    .execute();
  return { total, rows: rows.map((row, index) => toStanding(row, offset + index + 1)) };
}

interface Row {
  readonly experiment_id: string;
  readonly mean: number;
  readonly runs: number;
  readonly verdict: string | null;
  readonly description: string;
  readonly worker_endpoint: string | null;
  readonly train_hash: string;
  readonly root_hash: string;
  readonly created_at: number;
  readonly value: number | null;
  readonly payment_tx: string | null;
}

function toStanding(row: Row, rank: number): VariantStanding {
  return {
    rank,
    experimentId: row.experiment_id,
    valBpb: row.runs === 1 ? row.mean : Math.round(row.mean * 1e6) / 1e6,
    runs: row.runs,
    verdict: row.verdict,
    description: row.description,
    workerEndpoint: row.worker_endpoint,
    priceAtomic: row.value ?? 0,
    paymentTx: row.payment_tx,
    trainHash: row.train_hash,
    rootHash: row.root_hash,
    createdAtMs: row.created_at,
  };
}

/** One row of the ranking of workers: what we saw of each ourselves. */
export interface WorkerStanding {
  readonly rank: number;
  readonly workerEndpoint: string;
  readonly runs: number;
  readonly scored: number;
  readonly bestValBpb: number | null;
  readonly spentAtomic: number;
}

/** Ranks workers by the best score that counts, then by how many runs gave one. */
export async function loadWorkerStandings(
  db: Db,
  limit: number,
  offset: number,
): Promise<{ rows: WorkerStanding[]; total: number }> {
  const rows = await db
    .selectFrom('worker_tallies as worker')
    .where('worker.runs', '>', 0)
    .select((eb) => [
      'worker.worker_endpoint',
      'worker.runs',
      'worker.scored',
      'worker.spent',
      eb
        .selectFrom('experiments')
        .select('val_bpb')
        .whereRef('experiments.worker_endpoint', '=', 'worker.worker_endpoint')
        .where('val_bpb', 'is not', null)
        .where('verdict', 'in', VERDICTS_THAT_COUNT)
        .orderBy('val_bpb')
        .limit(1)
        .as('best'),
    ])
    .execute();
  const ranked = rows
    .map((row) => ({
      workerEndpoint: row.worker_endpoint,
      runs: row.runs,
      scored: row.scored,
      bestValBpb: row.best,
      spentAtomic: row.spent,
    }))
    .sort(
      (a, b) =>
        (a.bestValBpb ?? Number.POSITIVE_INFINITY) - (b.bestValBpb ?? Number.POSITIVE_INFINITY) ||
        b.scored - a.scored ||
        (a.workerEndpoint < b.workerEndpoint ? -1 : 1),
    )
    .map((row, index) => ({ rank: index + 1, ...row }));
  return { total: ranked.length, rows: ranked.slice(offset, offset + limit) };
}

/** Scores that count, and those that made an idea champion, in the order in which they came, at most the newest `limit`. */
export async function loadTrend(db: Db, filter: { loopId?: string }, limit: number): Promise<TrendPoint[]> {
  let query = db
    .selectFrom('experiments')
    .select((eb) => [
      'experiment_id',
      'val_bpb',
      'verdict',
      'role',
      'description',
      'created_at',
      eb('experiment_id', 'in', selectHolders(eb)).as('has_been_champion'),
      isContradicted(eb).as('is_contradicted'),
      eb
        .exists(
          eb
            .selectFrom('titles as own')
            .innerJoin('titles as next', (join) =>
              join.onRef('next.scope', '=', 'own.scope').on('next.seq', '=', sql<number>`own.seq + 1`),
            )
            .select('own.seq')
            .whereRef('own.experiment_id', '=', 'experiments.experiment_id')
            .where('next.cause', '=', 'rolled_back'),
        )
        .as('is_rolled_back'),
    ])
    .where('val_bpb', 'is not', null)
    .where((eb) => eb.or([eb('verdict', 'in', VERDICTS_THAT_COUNT), eb('experiment_id', 'in', selectHolders(eb))]));
  if (filter.loopId !== undefined) query = query.where('loop_id', '=', filter.loopId);
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('round', 'desc')
    .orderBy('experiment_id')
    .limit(limit)
    .execute();
  return rows
    .flatMap((row) =>
      row.val_bpb === null
        ? []
        : [
            {
              experimentId: row.experiment_id,
              valBpb: row.val_bpb,
              verdict: row.verdict ?? '',
              role: row.role,
              hasBeenChampion: Boolean(row.has_been_champion),
              isRefuted: Boolean(row.has_been_champion ? row.is_rolled_back : row.is_contradicted),
              description: row.description,
            },
          ],
    )
    .reverse();
}

/** Whether fresh runs of what a run found were no better than the champion of that time, and none was. */
function isContradicted(eb: ExpressionBuilder<Schema, 'experiments'>) {
  const fresh = eb
    .selectFrom('experiments as fresh')
    .select('fresh.experiment_id')
    .whereRef('fresh.audit_of', '=', 'experiments.experiment_id')
    .where('fresh.role', '=', 'confirmation');
  const isBesideSame = sql<boolean>`fresh.judgement ->> '$.championId' is experiments.judgement ->> '$.championId'`;
  return eb.and([
    eb.exists(fresh.where('fresh.verdict', '=', 'DISCARD').where(isBesideSame)),
    eb.not(eb.exists(fresh.where('fresh.verdict', 'in', ['KEEP', 'KEEP-SIMPLER']))),
  ]);
}

/** Runs that made an idea champion. */
function selectHolders(eb: ExpressionBuilder<Schema, 'experiments'>) {
  return eb.selectFrom('titles').select('titles.experiment_id');
}

/** One run on the chart. */
export interface TrendPoint {
  readonly experimentId: string;
  readonly valBpb: number;
  readonly verdict: string;
  readonly role: string;
  /** Whether its idea ever was champion: one that was too close to call at first may be after a retest. */
  readonly hasBeenChampion: boolean;
  /** Whether fresh runs took its title away, or showed no gain beside the same champion before it ever had one. */
  readonly isRefuted: boolean;
  readonly description: string;
}
