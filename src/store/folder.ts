import { join } from 'node:path';

/** The folder below `DATA_DIR` that holds everything of ours. */
export function storeFolder(dataDir: string): string {
  return join(dataDir, 'autoresearch');
}

/** The database of a data folder; it exists from the first call on that needs it. */
export function storeFile(dataDir: string): string {
  return join(storeFolder(dataDir), 'store.sqlite');
}
