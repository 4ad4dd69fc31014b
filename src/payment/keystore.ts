import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Keystore } from 'ox';
import { privateKeyToAccount } from 'viem/accounts';
import * as z from 'zod';
import { ConfigurationError } from '../base/errors.ts';
import type { KeyHolder } from './guard.ts';
import { readSecretFile } from './secret-file.ts';

const Hex = z.templateLiteral(['0x', z.string()]);

/** The parts of an Ethereum keystore (version 3, scrypt) that are needed to open it. */
const KeystoreFile = z.looseObject({
  id: z.string(),
  version: z.literal(3),
  crypto: z.object({
    cipher: z.literal('aes-128-ctr'),
    ciphertext: z.string(),
    cipherparams: z.object({ iv: z.string() }),
    kdf: z.literal('scrypt'),
    kdfparams: z.object({ dklen: z.int(), n: z.int(), p: z.int(), r: z.int(), salt: z.string() }),
    mac: z.string(),
  }),
});

/**
 * Opens an encrypted keystore with the password that a file holds. Takes about a second: that is what protects it.
 * @throws ConfigurationError when a file cannot be read, or the password is not the keystore's
 */
export async function loadKeystore(file: string, passwordFile: string): Promise<KeyHolder> {
  const password = readSecretFile('AUTORESEARCH_KEYSTORE_PASSWORD_FILE', passwordFile).replace(/\r?\n$/, '');
  const parsed = KeystoreFile.safeParse(parseJson(readSecretFile('AUTORESEARCH_KEYSTORE', file)));
  if (!parsed.success)
    throw new ConfigurationError(
      'AUTORESEARCH_KEYSTORE',
      `names ${JSON.stringify(file)}, which is no version 3 keystore with scrypt`,
      'Create one with: autoresearch-coordinator wallet create',
    );
  try {
    const key = await Keystore.toKeyAsync(parsed.data, { password });
    const account = privateKeyToAccount(Hex.parse(Keystore.decrypt(parsed.data, key)));
    return {
      address: account.address,
      signTransfer: (data) => account.signTypedData(data),
      signText: (text) => account.signMessage({ message: text }),
      signFeedback: (transaction) => account.signTransaction(transaction),
    };
  } catch {
    throw new ConfigurationError(
      'AUTORESEARCH_KEYSTORE_PASSWORD_FILE',
      `does not hold the password of ${JSON.stringify(file)}`,
      'Point it to the file with the password that the keystore was created with.',
    );
  }
}

/**
 * Creates a key in an encrypted keystore; an existing file is never overwritten.
 * @returns the address
 * @throws ConfigurationError when the file exists or cannot be written
 */
export async function createKeystore(file: string, passwordFile: string): Promise<`0x${string}`> {
  const password = readSecretFile('AUTORESEARCH_KEYSTORE_PASSWORD_FILE', passwordFile).replace(/\r?\n$/, '');
  const privateKey = Hex.parse(`0x${randomBytes(32).toString('hex')}`);
  const account = privateKeyToAccount(privateKey);
  const [key, options] = await Keystore.scryptAsync({ password });
  const keystore = { ...Keystore.encrypt(privateKey, key, options), address: account.address.slice(2).toLowerCase() };
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, JSON.stringify(keystore), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const why =
      error instanceof Error && 'code' in error && error.code === 'EEXIST'
        ? 'which exists already and is not overwritten'
        : 'which cannot be written';
    throw new ConfigurationError(
      'AUTORESEARCH_KEYSTORE',
      `names ${JSON.stringify(file)}, ${why}`,
      'Name another file.',
    );
  }
  return account.address;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
