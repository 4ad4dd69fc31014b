import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { createDataDir, openStore, runStoreProcess } from '../../test/store-seed.ts';
import { ConfigurationError } from '../base/errors.ts';
import { createCache } from './cache.ts';
import { loadMasterSecret, openDatabase } from './database.ts';
import {
  acquireRunnerLease,
  isRunnerAlive,
  loadRunnerLease,
  RUNNER_TTL_MS,
  releaseRunnerLease,
} from './runner-lease.ts';

describe('a store that several processes share', () => {
  it('is created once by six that start together, with one secret', async () => {
    const dataDir = createDataDir();
    const secrets = await Promise.all(Array.from({ length: 6 }, () => runStoreProcess('migrate', dataDir)));
    expect(new Set(secrets).size).toBe(1);
    expect(secrets[0]).toMatch(/^[0-9a-f]{64}$/);
    const db = await openStore(dataDir);
    const tables = await sql<{ name: string }>`select name from sqlite_master where type = 'table'`.execute(db);
    expect(tables.rows.map(({ name }) => name)).toEqual(expect.arrayContaining(['experiments', 'attempts', 'ledger']));
  });

  it('loses no write and starves nobody while four hammer it', async () => {
    const dataDir = createDataDir();
    const db = await openStore(dataDir);
    const ends = await Promise.all(Array.from({ length: 4 }, () => runStoreProcess('count', dataDir, '0', '25')));
    expect(ends).toEqual(Array.from({ length: 4 }, () => 'done'));
    const counter = await db.selectFrom('settings').select('value').where('key', '=', 'counter').executeTakeFirst();
    expect(counter?.value).toBe('100');
    const rows = await db.selectFrom('cache').select('value').execute();
    expect(new Set(rows.map(({ value }) => value)).size).toBe(100);
  });

  it('can be read and written by one while another takes its time in a transaction', async () => {
    const dataDir = createDataDir();
    const [slow, other] = await Promise.all([openStore(dataDir), openStore(dataDir)]);
    const order: string[] = [];
    let finish = () => {};
    const held = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const first = slow.transaction().execute(async (trx) => {
      await trx.insertInto('settings').values({ key: 'slow', value: '1' }).execute();
      order.push('begun');
      await held;
    });
    const second = first.then(() => order.push('committed'));
    while (order.length === 0) await new Promise((resolve) => setImmediate(resolve));
    // A reader sees the state of before.
    expect(await other.selectFrom('settings').selectAll().execute()).toEqual([]);
    const waiting = other
      .transaction()
      .execute((trx) => trx.insertInto('settings').values({ key: 'other', value: '2' }).execute())
      .then(() => order.push('written'));
    finish();
    await Promise.all([second, waiting]);
    expect(order[0]).toBe('begun');
    expect(order.slice(1).sort()).toEqual(['committed', 'written']);
    expect((await slow.selectFrom('settings').select('key').orderBy('key').execute()).map(({ key }) => key)).toEqual([
      'other',
      'slow',
    ]);
  });

  it('writes nothing of a transaction that throws', async () => {
    const db = await openStore();
    const failing = db.transaction().execute(async (trx) => {
      await trx.insertInto('settings').values({ key: 'half', value: '1' }).execute();
      throw new Error('half-way');
    });
    await expect(failing).rejects.toThrow('half-way');
    await expect(db.selectFrom('settings').selectAll().execute()).resolves.toEqual([]);
  });
});

describe('openDatabase', () => {
  it.skipIf(process.platform === 'win32')('keeps payment headers from everybody else on the machine', async () => {
    const dataDir = createDataDir();
    mkdirSync(join(dataDir, 'autoresearch'), { mode: 0o777 });
    await openStore(dataDir);
    expect(statSync(join(dataDir, 'autoresearch')).mode & 0o777).toBe(0o700);
  });

  it('names DATA_DIR when it cannot be written', async () => {
    const file = join(createDataDir(), 'file');
    writeFileSync(file, '');
    await expect(openDatabase(join(file, 'data'))).rejects.toThrow(ConfigurationError);
    await expect(openDatabase(join(file, 'data'))).rejects.toThrow('DATA_DIR');
  });

  it('waits for the disk at every commit and enforces references', async () => {
    const db = await openStore();
    const read = async (pragma: string) =>
      (await sql.raw<Record<string, unknown>>(`pragma ${pragma}`).execute(db)).rows;
    expect(await read('journal_mode')).toEqual([{ journal_mode: 'truncate' }]);
    expect(await read('synchronous')).toEqual([{ synchronous: 2 }]);
    expect(await read('foreign_keys')).toEqual([{ foreign_keys: 1 }]);
  });

  it('makes its secret once', async () => {
    const db = await openStore();
    await expect(loadMasterSecret(db, () => 'first')).resolves.toBe('first');
    await expect(loadMasterSecret(db, () => 'second')).resolves.toBe('first');
  });
});

it('keeps the newest answer in the cache, with its time', async () => {
  const cache = createCache(await openStore());
  await expect(cache.load('key')).resolves.toBeUndefined();
  await cache.save('key', { a: [1, null, 'ü'] }, 5);
  await cache.save('key', { a: 2 }, 6);
  await expect(cache.load('key')).resolves.toEqual({ value: { a: 2 }, storedAtMs: 6 });
});

it('reads an answer once and sees when another process has stored a newer one', async () => {
  const db = await openStore();
  const [mine, other] = [createCache(db), createCache(db)];
  await mine.save('key', { a: 1 }, 5);
  const first = await mine.load('key');
  expect((await mine.load('key'))?.value).toBe(first?.value);
  await other.save('key', { a: 2 }, 6);
  await expect(mine.load('key')).resolves.toEqual({ value: { a: 2 }, storedAtMs: 6 });
  await db.deleteFrom('cache').execute();
  await expect(mine.load('key')).resolves.toBeUndefined();
});

describe("the runner's lease", () => {
  it('is held by one at a time until it runs out or is given back', async () => {
    const db = await openStore();
    expect(await acquireRunnerLease(db, 'a', 1_000)).toBe(true);
    expect(await acquireRunnerLease(db, 'b', 1_001)).toBe(false);
    expect(await acquireRunnerLease(db, 'a', 5_000)).toBe(true);
    expect(await acquireRunnerLease(db, 'b', 5_000 + RUNNER_TTL_MS)).toBe(false);
    expect(await acquireRunnerLease(db, 'b', 5_001 + RUNNER_TTL_MS)).toBe(true);
    expect(await acquireRunnerLease(db, 'a', 5_002 + RUNNER_TTL_MS)).toBe(false);
    await releaseRunnerLease(db, 'a');
    expect((await loadRunnerLease(db))?.owner).toBe('b');
    await releaseRunnerLease(db, 'b');
    expect(await loadRunnerLease(db)).toBeUndefined();
  });

  it('of a process that is dead is taken over at once, that of another machine is not', async () => {
    const dataDir = createDataDir();
    const db = await openStore(dataDir);
    const pid = Number(await runStoreProcess('pid', dataDir));
    await acquireRunnerLease(db, 'dead', 1_000);
    const lease = await loadRunnerLease(db);
    if (!lease) return expect.unreachable();
    const dead = { ...lease, pid };
    expect(isRunnerAlive(dead, 1_001)).toBe(false);
    expect(isRunnerAlive({ ...dead, host: 'elsewhere' }, 1_001)).toBe(true);
    expect(isRunnerAlive({ ...dead, host: 'elsewhere' }, 1_001 + RUNNER_TTL_MS)).toBe(false);
    await db.transaction().execute((trx) =>
      trx
        .updateTable('settings')
        .set({ value: JSON.stringify(dead) })
        .where('key', '=', 'runner')
        .execute(),
    );
    expect(await acquireRunnerLease(db, 'next', 1_002)).toBe(true);
  });
});
