import { existsSync } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sha256 } from '../base/hash.ts';
import type { Db, Trx } from '../store/database.ts';

/** Keeps a source under its hash. */
export async function saveSource(trx: Trx, trainHash: Sha256, source: string, nowMs: number): Promise<void> {
  await trx
    .insertInto('sources')
    .values({ train_hash: trainHash, source, created_at: nowMs })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

/** Finds a source by its hash. */
export async function loadSource(db: Db, trainHash: string): Promise<string | undefined> {
  const row = await db.selectFrom('sources').select('source').where('train_hash', '=', trainHash).executeTakeFirst();
  return row?.source;
}

/** Where a source is exported to, below the store's folder. */
export function sourcePath(folder: string, trainHash: string): string {
  return join(folder, 'sources', `${trainHash.replace(/^sha256:/, '')}.py`);
}

/** Writes a source beside the records, once; a reader never sees half of it. */
export async function exportSource(folder: string, trainHash: string, source: string): Promise<void> {
  const path = sourcePath(folder, trainHash);
  if (existsSync(path)) return;
  await mkdir(join(folder, 'sources'), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(source, 'utf8');
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}
