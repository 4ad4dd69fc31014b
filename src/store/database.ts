import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Kysely, type Kysely as KyselyDatabase, Migrator, sql, type Transaction } from 'kysely';
import Libsql from 'libsql';
import { ConfigurationError } from '../base/errors.ts';
import { retryWhileBusy, SharedSqliteDialect } from './dialect.ts';
import { storeFile, storeFolder } from './folder.ts';
import { migrationProvider } from './migrations.ts';
import type { Schema } from './schema.ts';

export type Db = KyselyDatabase<Schema>;
export type Trx = Transaction<Schema>;

/**
 * Opens the store of a data folder, creating it on first use.
 * @param dataDir folder on a local disk
 * @throws ConfigurationError when the folder cannot be written
 */
export async function openDatabase(dataDir: string): Promise<Db> {
  const folder = storeFolder(dataDir);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Payment headers are bearer instruments: nobody else on this machine may read them.
    chmodSync(folder, 0o700);
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new ConfigurationError(
      'DATA_DIR',
      `names ${JSON.stringify(dataDir)}, which cannot be written (${why})`,
      'Set DATA_DIR to a folder on a local disk that you may write.',
    );
  }
  await migrate(dataDir);
  return connect(storeFile(dataDir));
}

function connect<T>(file: string): KyselyDatabase<T> {
  return new Kysely<T>({
    dialect: new SharedSqliteDialect(async () => {
      const database = new Libsql(file, { timeout: 10 });
      // WAL loses commits between processes with the SQLite that this driver carries.
      for (const pragma of ['journal_mode = truncate', 'synchronous = full', 'foreign_keys = on']) {
        await retryWhileBusy(() => database.exec(`pragma ${pragma}`));
      }
      return database;
    }),
  });
}

/** Kysely takes no lock on SQLite while it migrates: a second, small database is the lock over all processes. */
async function migrate(dataDir: string): Promise<void> {
  const lock = connect<Record<string, never>>(join(storeFolder(dataDir), 'migration-lock.sqlite'));
  try {
    await lock.transaction().execute(async () => {
      const db = connect<unknown>(storeFile(dataDir));
      try {
        const { error } = await new Migrator({ db, provider: migrationProvider }).migrateToLatest();
        if (error) throw error;
      } finally {
        await db.destroy();
      }
    });
  } finally {
    await lock.destroy();
  }
}

/** The store's secret of 32 bytes as hex, made once: nonces are derived from it. */
export async function loadMasterSecret(db: Db, createSecret: () => string): Promise<string> {
  await db.transaction().execute(async (trx) => {
    await trx
      .insertInto('settings')
      .values({ key: 'master_secret', value: createSecret() })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  });
  const row = await db
    .selectFrom('settings')
    .select('value')
    .where('key', '=', 'master_secret')
    .executeTakeFirstOrThrow();
  return row.value;
}

/** A cheap question that shows that the store answers. */
export async function checkDatabase(db: Db): Promise<void> {
  await sql`select 1`.execute(db);
}
