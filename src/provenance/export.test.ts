import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openStore, seedExperiments } from '../../test/store-seed.ts';
import { exportRecords, resultsPath } from './export.ts';
import { saveRecord } from './record.ts';

async function publish(count: number) {
  const db = await openStore();
  const folder = mkdtempSync(join(tmpdir(), 'autoresearch-export-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const ids = await seedExperiments(db, count);
  const lines = ids.map((experiment_id) => JSON.stringify({ experiment_id, note: '"}ü' }));
  await db.transaction().execute(async (trx) => {
    for (const [index, id] of ids.entries()) await saveRecord(trx, id, lines[index] ?? '', index);
  });
  return { db, folder, lines, path: resultsPath(folder) };
}

describe('exportRecords', () => {
  it('appends what the file lacks and nothing twice', async () => {
    const { db, folder, lines, path } = await publish(3);
    expect(await exportRecords(db, folder)).toHaveLength(3);
    expect(await exportRecords(db, folder)).toEqual([]);
    writeFileSync(path, `${lines[0]}\n`);
    expect(await exportRecords(db, folder)).toHaveLength(2);
    expect(readFileSync(path, 'utf8')).toBe(lines.map((line) => `${line}\n`).join(''));
  });

  it('has every record once as a whole line, wherever a power cut ended the file', async () => {
    const { db, folder, lines, path } = await publish(2);
    await exportRecords(db, folder);
    const whole = readFileSync(path);
    for (let size = whole.length - 1; size >= 0; size -= 1) {
      writeFileSync(path, whole);
      truncateSync(path, size);
      await exportRecords(db, folder);
      const found = readFileSync(path, 'utf8').split('\n');
      for (const line of lines)
        expect(
          found.filter((one) => one === line),
          `cut at ${size}`,
        ).toHaveLength(1);
      expect(found.at(-1)).toBe('');
    }
  });
});
