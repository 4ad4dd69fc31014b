import { readFileSync, statSync } from 'node:fs';
import { privateKeyToAccount } from 'viem/accounts';
import { ConfigurationError } from '../base/errors.ts';
import type { KeyHolder } from './guard.ts';

const VARIABLE = 'AUTORESEARCH_PRIVATE_KEY_FILE';
const KEY_TEXT = /^(?:0x)?([0-9a-fA-F]{64})$/;

/**
 * Reads the payer's key from a file that only its owner may read. The key stays in this closure.
 * @throws ConfigurationError when the file is missing, readable by others, or holds no key
 */
export function loadLocalKey(file: string): KeyHolder {
  const account = privateKeyToAccount(readKey(file));
  return {
    address: account.address,
    signTransfer: (data) => account.signTypedData(data),
  };
}

function readKey(file: string): `0x${string}` {
  const shown = JSON.stringify(file);
  let text: string;
  try {
    const isOpenToOthers = process.platform !== 'win32' && (statSync(file).mode & 0o077) !== 0;
    if (isOpenToOthers) {
      throw new ConfigurationError(VARIABLE, `names ${shown}, which others may read`, `Run: chmod 600 ${shown}`);
    }
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    throw new ConfigurationError(
      VARIABLE,
      `names ${shown}, which cannot be read`,
      'Point it to a file that holds the private key in hex.',
    );
  }
  const digits = KEY_TEXT.exec(text)?.[1];
  if (!digits)
    throw new ConfigurationError(
      VARIABLE,
      `names ${shown}, which holds no private key`,
      'The file must hold 64 hex digits and nothing else.',
    );
  return `0x${digits}`;
}
