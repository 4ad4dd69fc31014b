import { open } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Db } from '../store/database.ts';
import { exportSource } from './sources.ts';

const TAIL_BYTES = 256 * 1024;
const Line = z.looseObject({ experiment_id: z.string() });

/** Where the records are exported to. */
export function resultsPath(folder: string): string {
  return join(folder, 'results.jsonl');
}

/**
 * Appends to `results.jsonl` what the store has published and the file lacks, with the sources that it names. Only one
 * process of a data folder does this; a crash between the two is made good by the next call.
 * @returns the loop of each appended record, null for an experiment of its own
 */
export async function exportRecords(db: Db, folder: string): Promise<(string | null)[]> {
  const path = resultsPath(folder);
  const { lastId, endsCleanly } = await readTail(path);
  const last =
    lastId === null
      ? undefined
      : await db.selectFrom('records').select('seq').where('experiment_id', '=', lastId).executeTakeFirst();
  const missing = await db
    .selectFrom('records')
    .innerJoin('experiments', 'experiments.experiment_id', 'records.experiment_id')
    .innerJoin('sources', 'sources.train_hash', 'experiments.train_hash')
    .select(['records.line', 'sources.train_hash', 'sources.source', 'experiments.loop_id'])
    .where('records.seq', '>', last?.seq ?? 0)
    .orderBy('records.seq')
    .execute();
  if (missing.length === 0 && endsCleanly) return [];
  for (const { train_hash, source } of missing) await exportSource(folder, train_hash, source);
  const file = await open(path, 'a', 0o600);
  try {
    // A line that a crash cut short is closed, so that it spoils nothing but itself.
    if (!endsCleanly) await file.write('\n');
    for (const { line } of missing) await file.write(`${line}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  return missing.map(({ loop_id }) => loop_id);
}

/** Whether something is published that the file lacks: its runner died in between. */
export async function hasUnexported(db: Db, folder: string): Promise<boolean> {
  const newest = await db.selectFrom('records').select('experiment_id').orderBy('seq', 'desc').executeTakeFirst();
  return newest !== undefined && newest.experiment_id !== (await readTail(resultsPath(folder))).lastId;
}

/** Number of the newest record; 0 before the first. */
export async function loadNewestSeq(db: Db): Promise<number> {
  const row = await db
    .selectFrom('records')
    .select((eb) => eb.fn.max<number | null>('seq').as('newest'))
    .executeTakeFirst();
  return row?.newest ?? 0;
}

/** The experiment of the last whole line. Lines are appended in the store's order, so all before it are there. */
async function readTail(path: string): Promise<{ lastId: string | null; endsCleanly: boolean }> {
  const file = await open(path, 'r').catch(() => null);
  if (!file) return { lastId: null, endsCleanly: true };
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
    await file.read(buffer, 0, buffer.length, size - buffer.length);
    const text = buffer.toString('utf8');
    // The last one counts as whole without its line end, too: half a JSON object is none.
    for (const line of text.split('\n').reverse()) {
      const parsed = Line.safeParse(parseJson(line));
      if (parsed.success) return { lastId: parsed.data.experiment_id, endsCleanly: text.endsWith('\n') };
    }
    return { lastId: null, endsCleanly: text === '' || text.endsWith('\n') };
  } finally {
    await file.close();
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
