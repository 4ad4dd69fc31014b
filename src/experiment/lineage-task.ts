import { loadSource } from '../provenance/sources.ts';
import type { Db, Trx } from '../store/database.ts';
import { findTask } from './task.ts';
import { type Task, TaskSchema } from './task-schema.ts';

/** The task of a lineage: the operator's definition under which its newest variant passed the gate, else a ready one. */
export async function loadTask(db: Db | Trx, rootHash: string): Promise<Task> {
  const row = await db.selectFrom('tasks').select('definition').where('root_hash', '=', rootHash).executeTakeFirst();
  // A definition of a newer version may hold what this one does not know.
  const own = row && TaskSchema.safeParse(JSON.parse(row.definition)).data;
  return own ?? findTask((await loadSource(db, rootHash)) ?? '');
}

/** Keeps an operator's definition for a lineage, so that its runs are judged by what they were admitted by, wherever that happens. */
export async function saveTask(db: Db, rootHash: string, task: Task, nowMs: number): Promise<void> {
  const definition = JSON.stringify(task);
  const known = await db.selectFrom('tasks').select('definition').where('root_hash', '=', rootHash).executeTakeFirst();
  if (known?.definition === definition) return;
  await db.transaction().execute(async (trx) => {
    const values = { definition, updated_at: nowMs };
    await trx
      .insertInto('tasks')
      .values({ root_hash: rootHash, ...values })
      .onConflict((conflict) => conflict.column('root_hash').doUpdateSet(values))
      .execute();
  });
}
