import { sql } from 'kysely';
import type { Db } from '../store/database.ts';

/** How many of the newest experiments are looked through. */
const SEARCHED = 50_000;
const MAX_WORDS = 8;

/**
 * Ids of experiments whose description, hypothesis, agent, worker or verdict hold every word, newest first.
 * @param text words; case does not matter
 */
export async function searchExperiments(db: Db, text: string, limit: number): Promise<string[]> {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean).slice(0, MAX_WORDS);
  if (words.length === 0) return [];
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
    .limit(SEARCHED);
  let query = db.selectFrom(newest.as('newest')).select('newest.experiment_id');
  for (const word of words) query = query.where((eb) => eb(sql<number>`instr(newest.words, ${word})`, '>', 0));
  const rows = await query.orderBy('newest.created_at', 'desc').orderBy('newest.experiment_id').limit(limit).execute();
  return rows.map(({ experiment_id }) => experiment_id);
}
