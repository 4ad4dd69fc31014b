import { readFileSync, type Stats, statSync } from 'node:fs';
import { ConfigurationError } from '../base/errors.ts';

/** More than any key, keystore or password needs, in bytes. */
const MAX_BYTES = 65_536;

const KEY_TEXT = /^(0x)?[0-9a-fA-F]{64}$/;

/**
 * Reads a file that only its owner may read.
 * @param variable the variable that names it, for the error
 * @throws ConfigurationError when it is missing, too large, or others may read it
 */
export function readSecretFile(variable: string, file: string): string {
  // People put the key itself where its file belongs; an error must not show it.
  const shown = KEY_TEXT.test(file) ? 'a key, not a file' : JSON.stringify(file);
  const info = findFile(file);
  if (!info?.isFile() || info.size > MAX_BYTES) {
    throw new ConfigurationError(
      variable,
      `names ${shown}, which is not a readable file`,
      'Point it to the right file.',
    );
  }
  if (process.platform !== 'win32' && (info.mode & 0o077) !== 0) {
    throw new ConfigurationError(variable, `names ${shown}, which others may read`, `Run: chmod 600 ${shown}`);
  }
  try {
    return readFileSync(file, 'utf8');
  } catch {
    throw new ConfigurationError(
      variable,
      `names ${shown}, which cannot be read`,
      'Point it to a file that this user may read.',
    );
  }
}

/** Missing, below something that is no folder, or in a folder that we may not enter: there is no file to read. */
function findFile(file: string): Stats | undefined {
  try {
    return statSync(file);
  } catch {
    return undefined;
  }
}
