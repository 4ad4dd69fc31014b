import { existsSync } from 'node:fs';
import { storeFile, storeFolder } from '../store/folder.ts';

/**
 * Whether an earlier process left work behind: experiments, loops, reservations, or records to export. Asked at every
 * start of a server, so it loads no more than the store, and creates none where there is none.
 */
export async function hasOpenWork(dataDir: string): Promise<boolean> {
  if (!existsSync(storeFile(dataDir))) return false;
  const [{ openDatabase }, { loadExperiments }, { loadLoops }, { sumLedger }, { hasUnexported }] = await Promise.all([
    import('../store/database.ts'),
    import('../experiment/experiment.ts'),
    import('../campaign/loop.ts'),
    import('../payment/budget.ts'),
    import('../provenance/export.ts'),
  ]);
  const db = await openDatabase(dataDir);
  try {
    if ((await loadExperiments(db, { isOpen: true, limit: 1 })).length > 0) return true;
    if ((await loadLoops(db, { isRunning: true, limit: 1 })).length > 0) return true;
    return (await sumLedger(db, Date.now())).heldAtomic > 0n || (await hasUnexported(db, storeFolder(dataDir)));
  } finally {
    await db.destroy();
  }
}
