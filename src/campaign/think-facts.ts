import { readJson } from '../base/json.ts';
import { cleanUntrusted, UNTRUSTED_CAPS } from '../base/untrusted.ts';
import { Judgement, Reason, StoredResult } from '../experiment/experiment.ts';
import { VERDICTS_THAT_COUNT } from '../leaderboard/standings.ts';
import type { Db } from '../store/database.ts';

/** A run as THINK shows it. */
export interface ThinkRun {
  readonly experimentId: string;
  readonly state: string;
  readonly role: string;
  readonly description: string;
  readonly score: number | null;
  readonly verdict: string | null;
  /** Champion of its time minus this one: positive is better. */
  readonly delta: number | null;
  readonly z: number | null;
  readonly workerEndpoint: string | null;
  readonly priceAtomic: number | null;
  readonly reasonCode: string | null;
  /** The worker's words about a failure, cleaned and cut. */
  readonly untrustedNote: string | null;
  readonly agent: string | null;
}

/** The part of a run that tells what was changed and what it gave. */
export interface ChangeRun {
  readonly description: string;
  readonly score: number | null;
  readonly verdict: string | null;
  readonly role: string;
}

/** What is read of a loop: bounded, whatever its length. */
export interface LoopHistory {
  /** Finished runs, oldest first: the newest, the best, those that were kept, the newest that failed. */
  readonly recent: readonly ThinkRun[];
  readonly top: readonly ThinkRun[];
  readonly keeps: readonly ThinkRun[];
  readonly crashes: readonly ThinkRun[];
  /** On their way. */
  readonly pending: readonly ThinkRun[];
  /** The newest changes, newest first. */
  readonly changes: readonly ChangeRun[];
  /** Verdict → runs among the newest; `none` for those without one. */
  readonly counts: ReadonlyMap<string, number>;
  /** Whether there are more runs than were counted. */
  readonly isCut: boolean;
  readonly roundsDone: number;
}

const RECENT = 12;
const TOP = 5;
const KEEPS = 30;
const CRASHES = 3;
const PENDING = 20;
const CHANGES = 500;
/** A loop has at most a thousand rounds and as many runs beside them. */
const COUNTED = 3_000;
const MAX_ROUNDS = 1_000;

/** Reads what THINK shows of a loop, by indexes alone: as fast after a million runs as after ten. */
export async function loadLoopHistory(db: Db, loopId: string): Promise<LoopHistory> {
  const [recent, top, keeps, crashes, pending, changes, counts, roundsDone] = await Promise.all([
    loadRuns(db, loopId, 'recent', RECENT),
    loadRuns(db, loopId, 'top', TOP),
    loadRuns(db, loopId, 'keeps', KEEPS),
    loadRuns(db, loopId, 'crashes', CRASHES),
    loadRuns(db, loopId, 'pending', PENDING),
    loadChanges(db, loopId),
    countVerdicts(db, loopId),
    countRounds(db, loopId),
  ]);
  const counted = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return {
    recent: recent.toReversed(),
    top,
    keeps: keeps.toReversed(),
    crashes: crashes.toReversed(),
    pending,
    changes,
    counts,
    isCut: counted >= COUNTED,
    roundsDone,
  };
}

type Selection = 'recent' | 'top' | 'keeps' | 'crashes' | 'pending';

async function loadRuns(db: Db, loopId: string, selection: Selection, limit: number): Promise<ThinkRun[]> {
  const all = db.selectFrom('experiments').where('experiments.loop_id', '=', loopId);
  const newest = (query: typeof all) =>
    query.orderBy('experiments.created_at', 'desc').orderBy('experiments.round', 'desc');
  const chosen = {
    recent: () => newest(all.where((eb) => eb.or([eb('verdict', 'is not', null), eb('finished_at', 'is not', null)]))),
    top: () =>
      all.where('val_bpb', 'is not', null).where('verdict', 'in', VERDICTS_THAT_COUNT).orderBy('experiments.val_bpb'),
    keeps: () => newest(all.where('verdict', 'in', ['KEEP', 'KEEP-SIMPLER'])),
    crashes: () => newest(all.where('verdict', '=', 'FAILED')),
    pending: () => newest(all.where('finished_at', 'is', null).where('verdict', 'is', null)),
  }[selection]();
  const rows = await chosen
    .leftJoin('attempts', (join) =>
      join
        .onRef('attempts.experiment_id', '=', 'experiments.experiment_id')
        .onRef('attempts.attempt', '=', 'experiments.attempt'),
    )
    .select([
      'experiments.experiment_id',
      'experiments.state',
      'experiments.role',
      'experiments.description',
      'experiments.val_bpb',
      'experiments.verdict',
      'experiments.judgement',
      'experiments.worker_endpoint',
      'experiments.reason',
      'experiments.result',
      'experiments.agent',
      'attempts.value',
    ])
    .orderBy('experiments.experiment_id')
    .limit(limit)
    .execute();
  return rows.map((row) => {
    const judgement = row.judgement === null ? null : readJson(Judgement, row.judgement);
    const reason = row.reason === null ? null : readJson(Reason, row.reason);
    const result = row.result === null ? null : readJson(StoredResult, row.result);
    return {
      experimentId: row.experiment_id,
      state: row.state,
      role: row.role,
      description: row.description,
      score: row.val_bpb,
      verdict: row.verdict,
      delta: judgement?.delta ?? null,
      z: judgement?.z ?? null,
      workerEndpoint: row.worker_endpoint,
      priceAtomic: row.value,
      reasonCode: reason?.code ?? null,
      untrustedNote: cleanUntrusted(result?.untrustedNote ?? reason?.untrustedNote, UNTRUSTED_CAPS.description),
      agent: cleanUntrusted(row.agent, UNTRUSTED_CAPS.name),
    };
  });
}

function loadChanges(db: Db, loopId: string): Promise<ChangeRun[]> {
  return db
    .selectFrom('experiments')
    .select(['description', 'val_bpb as score', 'verdict', 'role'])
    .where('loop_id', '=', loopId)
    .where((eb) => eb.or([eb('verdict', 'is not', null), eb('finished_at', 'is not', null)]))
    .orderBy('created_at', 'desc')
    .orderBy('round', 'desc')
    .orderBy('experiment_id')
    .limit(CHANGES)
    .execute();
}

async function countVerdicts(db: Db, loopId: string): Promise<Map<string, number>> {
  const rows = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('experiments')
        .select('verdict')
        .where('loop_id', '=', loopId)
        .orderBy('created_at', 'desc')
        .limit(COUNTED)
        .as('newest'),
    )
    .select((eb) => ['verdict', eb.fn.countAll<number>().as('count')])
    .groupBy('verdict')
    .orderBy('verdict')
    .execute();
  return new Map(rows.map(({ verdict, count }) => [verdict ?? 'none', count]));
}

/** Rounds that are over. */
async function countRounds(db: Db, loopId: string): Promise<number> {
  const { count } = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('experiments')
        .select('experiment_id')
        .where('loop_id', '=', loopId)
        .where('role', '=', 'round')
        .where((or) => or.or([or('finished_at', 'is not', null), or('state', '=', 'judged')]))
        .limit(MAX_ROUNDS)
        .as('rounds'),
    )
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return count;
}
