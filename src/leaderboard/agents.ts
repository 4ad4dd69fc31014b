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
    .selectFrom('agent_tallies as tally')
    .where('tally.runs', '>', 0)
    .select((eb) => [
      'tally.agent',
      'tally.runs',
      'tally.scored',
      'tally.kept',
      eb
        .selectFrom('experiments')
        .select('val_bpb')
        .whereRef('experiments.agent', '=', 'tally.agent')
        .where('val_bpb', 'is not', null)
        .where('role', 'in', ['single', 'round'])
        .where('verdict', 'in', VERDICTS_THAT_COUNT)
        .orderBy('val_bpb')
        .limit(1)
        .as('best'),
    ])
    .execute();
  const ranked = found
    .map(({ best, ...row }) => ({ ...row, bestValBpb: best }))
    .sort(
      (a, b) =>
        (a.bestValBpb ?? Number.POSITIVE_INFINITY) - (b.bestValBpb ?? Number.POSITIVE_INFINITY) ||
        b.kept - a.kept ||
        (a.agent < b.agent ? -1 : 1),
    )
    .map((row, index) => ({ rank: index + 1, ...row }));
  return { total: ranked.length, rows: ranked.slice(offset, offset + limit) };
}
