import { existsSync } from 'node:fs';
import { storeFile } from '../store/folder.ts';

/**
 * Whether an earlier process left work behind. Asked at every start of a server, so it loads no more than the store,
 * and creates none where there is none.
 */
export async function hasOpenWork(dataDir: string): Promise<boolean> {
  if (!existsSync(storeFile(dataDir))) return false;
  const [{ openDatabase }, { loadExperiments }, { loadLoops }] = await Promise.all([
    import('../store/database.ts'),
    import('../experiment/experiment.ts'),
    import('../campaign/loop.ts'),
  ]);
  const db = await openDatabase(dataDir);
  try {
    const open = await loadExperiments(db, { isOpen: true, limit: 1 });
    return open.length > 0 || (await loadLoops(db, { isRunning: true, limit: 1 })).length > 0;
  } finally {
    await db.destroy();
  }
}
