import { mkdirSync } from 'node:fs';
import { Kysely, Migrator } from 'kysely';
import Libsql from 'libsql';
import { expect, it } from 'vitest';
import { createDataDir, openStore, seedExperiments } from '../../test/store-seed.ts';
import { SharedSqliteDialect } from './dialect.ts';
import { storeFile, storeFolder } from './folder.ts';
import { migrationProvider } from './migrations.ts';
import type { Schema } from './schema.ts';

/** A store as it was after a migration. */
async function openOld(dataDir: string, migration: string): Promise<Kysely<Schema>> {
  mkdirSync(storeFolder(dataDir), { recursive: true });
  const file = storeFile(dataDir);
  const db = new Kysely<Schema>({ dialect: new SharedSqliteDialect(async () => new Libsql(file)) });
  const { error } = await new Migrator({ db, provider: migrationProvider }).migrateTo(migration);
  if (error) throw error;
  return db;
}

it('finds the parents of older variants, the one with the same config first', async () => {
  const dataDir = createDataDir();
  const old = await openOld(dataDir, '0014-loop-baselines');
  const [plain = '', tuned = '', child = '', stranger = ''] = await seedExperiments(old, 4);
  const set = (id: string, change: object) =>
    old.updateTable('experiments').set(change).where('experiment_id', '=', id).execute();
  const [{ train_hash } = { train_hash: '' }] = await old.selectFrom('experiments').select('train_hash').execute();
  await set(plain, { variant_hash: 'plain', val_bpb: 2, verdict: 'BASELINE' });
  await set(tuned, { variant_hash: 'tuned', config: '{"LR":5}', created_at: 1 });
  await old.insertInto('sources').values({ train_hash: 'edited', source: 'pass', created_at: 0 }).execute();
  const made = { train_hash: 'edited', parent_hash: train_hash };
  await set(child, { ...made, variant_hash: 'child', config: '{"LR":5}', created_at: 2 });
  await set(stranger, { ...made, variant_hash: 'stranger', config: '{"LR":7}', created_at: 3 });
  // By its config alone.
  await set(tuned, { parent_hash: train_hash });
  await old.destroy();
  const db = await openStore(dataDir);
  const rows = await db.selectFrom('experiments').select(['variant_hash', 'parent_variant_hash']).execute();
  expect(new Map(rows.map((row) => [row.variant_hash, row.parent_variant_hash]))).toEqual(
    new Map([
      ['plain', null],
      ['tuned', 'plain'],
      ['child', 'tuned'],
      ['stranger', 'plain'],
    ]),
  );
  // The ranking of before is counted, too.
  expect(await db.selectFrom('variant_count').selectAll().execute()).toEqual([{ total: 1 }]);
});
