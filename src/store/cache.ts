import type { Db } from './database.ts';

/** Kept answers of others; whoever loads one checks it like the answer itself. */
export interface Cache {
  load(key: string): Promise<{ value: unknown; storedAtMs: number } | undefined>;
  save(key: string, value: unknown, nowMs: number): Promise<void>;
}

/** A cache in the store, shared by its processes. */
export function createCache(db: Db): Cache {
  return {
    async load(key) {
      const row = await db.selectFrom('cache').selectAll().where('key', '=', key).executeTakeFirst();
      return row && { value: JSON.parse(row.value), storedAtMs: row.stored_at };
    },
    async save(key, value, nowMs) {
      const row = { value: JSON.stringify(value), stored_at: nowMs };
      await db.transaction().execute(async (trx) => {
        await trx
          .insertInto('cache')
          .values({ key, ...row })
          .onConflict((conflict) => conflict.column('key').doUpdateSet(row))
          .execute();
      });
    },
  };
}
