/**
 * Eight processes reserve against one cap on one store, as hosts and runners of one data folder do, beside one process
 * alone with the same number of reservations: `npm run bench:budget`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sumLedger } from '../src/payment/budget.ts';
import { openDatabase } from '../src/store/database.ts';
import { runStoreProcess, seedExperiments } from '../test/store-seed.ts';

const PROCESSES = 8;
const EACH = 500;
const PRICE_ATOMIC = 50_000;
const NOW_MS = 1_790_000_000_000;

/** @param room how many reservations fit under the cap */
async function race(processes: number, each: number, room: number): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));
  const db = await openDatabase(dataDir);
  await seedExperiments(db, processes * each);
  const startedMs = performance.now();
  const counts = await Promise.all(
    Array.from({ length: processes }, (_, index) =>
      runStoreProcess('reserve', dataDir, String(index * each), String(each), String(room * PRICE_ATOMIC)),
    ),
  );
  const seconds = (performance.now() - startedMs) / 1000;
  const reserved = counts.reduce((sum, count) => sum + Number(count), 0);
  const { heldAtomic } = await sumLedger(db, NOW_MS);
  const isExact = reserved === Math.min(room, processes * each) && heldAtomic === BigInt(reserved * PRICE_ATOMIC);
  process.stdout.write(
    `${processes} processes × ${each} tries, room for ${room}: ${reserved} reserved, ${isExact ? 'exact' : 'WRONG'}, ${((processes * each) / seconds).toFixed(0)} tries/s, ${seconds.toFixed(1)} s with start-up\n`,
  );
  await db.destroy();
  rmSync(dataDir, { recursive: true, force: true });
}

await race(1, PROCESSES * EACH, PROCESSES * EACH);
await race(PROCESSES, EACH, PROCESSES * EACH);
await race(PROCESSES, EACH, 1_000);
