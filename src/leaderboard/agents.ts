import type { Db } from '../store/database.ts';
import { VERDICTS_THAT_COUNT } from './standings.ts';

/** One row of the ranking of agents: what came of the experiments that each proposed. */
export interface AgentStanding {
  readonly rank: number;
  readonly agent: string;
  readonly runs: number;
  readonly scored: number;
  /** Runs that were better than the champion of their time. */
  readonly kept: number;
  readonly bestValBpb: number | null;
}

/** Ranks the names under which experiments were proposed by the best score that counts, then by how many were kept. */
export async function loadAgentStandings(
  db: Db,
  limit: number,
  offset: number,
): Promise<{ rows: AgentStanding[]; total: number }> {
  const found = await db
    .selectFrom('experiments')
    .where('agent', 'is not', null)
    .where('verdict', 'is not', null)
    .select((eb) => {
      const counts = eb('verdict', 'in', VERDICTS_THAT_COUNT);
      const isKept = eb('verdict', 'in', ['KEEP', 'KEEP-SIMPLER']);
      return [
        'agent',
        eb.fn.countAll<number>().as('runs'),
        eb.fn.sum<number>(eb.case().when(counts).then(1).else(0).end()).as('scored'),
        eb.fn.sum<number>(eb.case().when(isKept).then(1).else(0).end()).as('kept'),
        eb.fn.min<number | null>(eb.case().when(counts).then(eb.ref('val_bpb')).end()).as('best'),
      ];
    })
    .groupBy('agent')
    .execute();
  const ranked = found
    .flatMap(({ agent, best, ...row }) => (agent === null ? [] : [{ ...row, agent, bestValBpb: best }]))
    .sort(
      (a, b) =>
        (a.bestValBpb ?? Number.POSITIVE_INFINITY) - (b.bestValBpb ?? Number.POSITIVE_INFINITY) ||
        b.kept - a.kept ||
        (a.agent < b.agent ? -1 : 1),
    )
    .map((row, index) => ({ rank: index + 1, ...row }));
  return { total: ranked.length, rows: ranked.slice(offset, offset + limit) };
}
