import { existsSync } from 'node:fs';
import { storeFile, storeFolder } from '../store/folder.ts';

/**
 * Whether an earlier process left work behind: experiments, loops, reservations, or records to export. Asked at every
 * start of a server, so it loads no more than the store, and creates none where there is none.
 * @param look at the `first` one every reservation counts, since a chain may be in reach now; later those alone that
 * are about to be decided, so that no runner is started again and again for what nobody can prove
 */
export async function hasOpenWork(dataDir: string, look: 'first' | 'later'): Promise<boolean> {
  if (!existsSync(storeFile(dataDir))) return false;
  const [{ openDatabase }, { loadExperiments }, { loadLoops }, { hasHeldAuthorization }, { hasUnexported }] =
    await Promise.all([
      import('../store/database.ts'),
      import('../experiment/experiment.ts'),
      import('../campaign/loop.ts'),
      import('../experiment/sweep.ts'),
      import('../provenance/export.ts'),
    ]);
  const db = await openDatabase(dataDir);
  try {
    if ((await loadExperiments(db, { isOpen: true, limit: 1 })).length > 0) return true;
    if ((await loadLoops(db, { isRunning: true, limit: 1 })).length > 0) return true;
    if (await hasHeldAuthorization(db, Date.now(), look === 'first' ? undefined : 'decided soon')) return true;
    return await hasUnexported(db, storeFolder(dataDir));
  } finally {
    await db.destroy();
  }
}
