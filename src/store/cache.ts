import type { Db } from './database.ts';

/** Kept answers of others; whoever loads one checks it like the answer itself. */
export interface Cache {
  /** The same object again while nobody has saved another: it must not be changed. */
  load(key: string): Promise<{ readonly value: unknown; readonly storedAtMs: number } | undefined>;
  save(key: string, value: unknown, nowMs: number): Promise<void>;
}

/** Values that are kept parsed: a list of a thousand workers takes milliseconds to read, and there are few lists. */
const MAX_PARSED = 16;

/** A cache in the store, shared by its processes. */
export function createCache(db: Db): Cache {
  const parsed = new Map<string, { readonly value: unknown; readonly storedAtMs: number }>();
  const isCurrent = async (key: string, storedAtMs: number) => {
    const row = await db.selectFrom('cache').select('stored_at').where('key', '=', key).executeTakeFirst();
    return row?.stored_at === storedAtMs;
  };
  return {
    async load(key) {
      const known = parsed.get(key);
      if (known && (await isCurrent(key, known.storedAtMs))) return known;
      const row = await db.selectFrom('cache').selectAll().where('key', '=', key).executeTakeFirst();
      if (!row) return undefined;
      const entry = { value: JSON.parse(row.value), storedAtMs: row.stored_at };
      parsed.delete(key);
      parsed.set(key, entry);
      const [oldest] = parsed.keys();
      if (oldest !== undefined && parsed.size > MAX_PARSED) parsed.delete(oldest);
      return entry;
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
      parsed.delete(key);
    },
  };
}
