import { privateKeyToAccount } from 'viem/accounts';
import { ConfigurationError } from '../base/errors.ts';
import type { KeyHolder } from './guard.ts';
import { readSecretFile } from './secret-file.ts';

const VARIABLE = 'AUTORESEARCH_PRIVATE_KEY_FILE';
/** Keys are below the order of secp256k1. */
const CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
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
    signText: (text) => account.signMessage({ message: text }),
    signFeedback: (transaction) => account.signTransaction(transaction),
  };
}

function readKey(file: string): `0x${string}` {
  const digits = KEY_TEXT.exec(readSecretFile(VARIABLE, file).trim())?.[1];
  const isOnCurve = digits !== undefined && BigInt(`0x${digits}`) > 0n && BigInt(`0x${digits}`) < CURVE_ORDER;
  if (isOnCurve) return `0x${digits}`;
  throw new ConfigurationError(
    VARIABLE,
    `names ${JSON.stringify(file)}, which holds no private key`,
    'The file must hold 64 hex digits and nothing else.',
  );
}
