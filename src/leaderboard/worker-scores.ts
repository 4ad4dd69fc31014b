import type { Db } from '../store/database.ts';
import { VERDICTS_THAT_COUNT } from './standings.ts';

/** Our own scores at one worker: of runs that we paid for and checked. */
export interface WorkerScores {
  readonly runs: number;
  readonly bestValBpb: number;
  readonly medianValBpb: number;
}

/** Loads our own scores at these workers, by endpoint; workers without one are missing. */
export async function loadWorkerScores(db: Db, endpoints: readonly string[]): Promise<Map<string, WorkerScores>> {
  const scores = new Map<string, WorkerScores>();
  if (endpoints.length === 0) return scores;
  const counts = await selectScored(db)
    .where('worker_endpoint', 'in', endpoints)
    .select((eb) => ['worker_endpoint', eb.fn.countAll<number>().as('runs'), eb.fn.min('val_bpb').as('best')])
    .groupBy('worker_endpoint')
    .execute();
  for (const { worker_endpoint: endpoint, runs, best } of counts) {
    if (endpoint === null || best === null) continue;
    scores.set(endpoint, { runs, bestValBpb: best, medianValBpb: await loadMedian(db, endpoint, runs) });
  }
  return scores;
}

/** The score in the middle, or the mean of both of an even number. */
async function loadMedian(db: Db, endpoint: string, runs: number): Promise<number> {
  const middle = await selectScored(db)
    .where('worker_endpoint', '=', endpoint)
    .select('val_bpb')
    .orderBy('val_bpb')
    .limit(runs % 2 === 0 ? 2 : 1)
    .offset(Math.floor((runs - 1) / 2))
    .execute();
  return middle.reduce((sum, { val_bpb }) => sum + (val_bpb ?? Number.NaN), 0) / middle.length;
}

function selectScored(db: Db) {
  return db.selectFrom('experiments').where('val_bpb', 'is not', null).where('verdict', 'in', VERDICTS_THAT_COUNT);
}
