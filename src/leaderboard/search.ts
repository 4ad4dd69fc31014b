import { sql } from 'kysely';
import type { Db } from '../store/database.ts';

/** How many of the newest experiments are looked through. */
const SEARCHED = 50_000;

/** Which of the past experiments are wanted. */
export interface Search {
  /** Words that each has to hold in description, hypothesis, agent, worker or verdict; case does not matter. */
  readonly words: string;
  readonly limit: number;
  readonly offset?: number;
}

/** Finds experiments, newest first; without a word all of the newest ones. @returns a page of ids, and how many match */
export async function searchExperiments(
  db: Db,
  { words, limit, offset = 0 }: Search,
): Promise<{ ids: string[]; total: number }> {
  const newest = db
    .selectFrom('experiments')
    .select([
      'experiment_id',
      'created_at',
      sql<string>`lower(description || ' ' || coalesce(hypothesis, '') || ' ' || coalesce(agent, '') || ' ' || coalesce(worker_endpoint, '') || ' ' || coalesce(verdict, state))`.as(
        'words',
      ),
    ])
    .orderBy('created_at', 'desc')
    .orderBy('experiment_id', 'desc')
    .limit(SEARCHED);
  let matching = db.selectFrom(newest.as('newest'));
  // The database knows the case of ASCII letters only.
  for (const word of words.split(/\s+/).filter(Boolean))
    matching = matching.where((eb) =>
      eb.or(
        [...new Set([word, word.toLowerCase(), word.toUpperCase()])].map((form) =>
          eb(sql<number>`instr(newest.words, lower(${form}))`, '>', 0),
        ),
      ),
    );
  const rows = await matching
    .select(['newest.experiment_id', sql<number>`count(*) over ()`.as('total')])
    .orderBy('newest.created_at', 'desc')
    .orderBy('newest.experiment_id', 'desc')
    .limit(limit)
    .offset(offset)
    .execute();
  return { ids: rows.map(({ experiment_id }) => experiment_id), total: rows[0]?.total ?? 0 };
}
