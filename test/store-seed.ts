// What tests of the store share: a folder of their own, experiments without a life, and processes that hammer it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { sha256 } from '../src/base/hash.ts';
import { type Db, openDatabase } from '../src/store/database.ts';
import { experimentIdOf, SOURCE } from './store-rows.ts';

/** A data folder that goes away with the test. */
export function createDataDir(): string {
  const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-store-'));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  return dataDir;
}

/** A store of its own for one test. */
export async function openStore(dataDir = createDataDir()): Promise<Db> {
  const db = await openDatabase(dataDir);
  onTestFinished(() => db.destroy());
  return db;
}

/** Writes experiments down as if they had just been claimed. */
export async function seedExperiments(db: Db, count: number, loopId: string | null = null): Promise<string[]> {
  const trainHash = sha256(SOURCE);
  const ids = Array.from({ length: count }, (_, index) => experimentIdOf(index));
  await db.transaction().execute(async (trx) => {
    await trx.insertInto('sources').values({ train_hash: trainHash, source: SOURCE, created_at: 0 }).execute();
    for (const id of ids) {
      await trx
        .insertInto('experiments')
        .values({
          experiment_id: id,
          idempotency_key: id,
          state: 'claimed',
          settlement: 'none',
          train_hash: trainHash,
          variant_hash: trainHash,
          config: '{}',
          root_hash: trainHash,
          description: 'test',
          worker_request: 'auto',
          max_price: 250_000,
          consent: JSON.stringify({ upfront: false, overlap: false, shortTimeout: false }),
          loop_id: loopId,
          role: 'single',
          attempt: 0,
          lease_until: 0,
          epoch: 0,
          avoid: '{}',
          created_at: 0,
          updated_at: 0,
        })
        .execute();
    }
  });
  return ids;
}

/** Runs `store-process.ts` in a process of its own; what it prints at the end. */
export function runStoreProcess(...args: readonly string[]): Promise<string> {
  const script = fileURLToPath(new URL('store-process.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(stdout.trim());
      else reject(new Error(`the store process ended with ${code}: ${stderr}`));
    });
  });
}
