import { isAddressEqual } from 'viem';
import { ConfigurationError } from '../base/errors.ts';
import type { KeyHolder } from './guard.ts';
import { loadKeystore } from './keystore.ts';
import { loadLocalKey } from './local-key.ts';
import { connectRemoteSigner } from './remote-signer.ts';

export interface WalletOptions {
  readonly remoteSignerUrl: string | undefined;
  readonly remoteSignerToken: string | undefined;
  readonly keystoreFile: string | undefined;
  readonly keystorePasswordFile: string | undefined;
  readonly privateKeyFile: string | undefined;
  /** Address that must pay; undefined: the wallet's only one. */
  readonly payer: `0x${string}` | undefined;
}

/** Where the key is. Opening it may ask a service or take a second, so it happens with the first paid call. */
export interface Wallet {
  readonly kind: 'remote signer' | 'keystore' | 'key file';
  /** @throws SignerError, ConfigurationError */
  open(): Promise<KeyHolder>;
}

/** A signature may wait for an approval by hand, in milliseconds. */
const SIGN_DEADLINE_MS = 120_000;

/** The wallet that the operator configured: a remote signer before a keystore before a key file; null without any. */
export function configureWallet(options: WalletOptions): Wallet | null {
  const { remoteSignerUrl, keystoreFile, privateKeyFile, payer } = options;
  if (remoteSignerUrl !== undefined) {
    const signer = { url: remoteSignerUrl, token: options.remoteSignerToken, payer, deadlineMs: SIGN_DEADLINE_MS };
    return { kind: 'remote signer', open: () => connectRemoteSigner(signer) };
  }
  if (keystoreFile !== undefined) {
    return {
      kind: 'keystore',
      open: async () => assertPayer(await loadKeystore(keystoreFile, requirePasswordFile(options)), payer),
    };
  }
  if (privateKeyFile !== undefined)
    return { kind: 'key file', open: async () => assertPayer(loadLocalKey(privateKeyFile), payer) };
  return null;
}

function requirePasswordFile({ keystorePasswordFile }: WalletOptions): string {
  if (keystorePasswordFile !== undefined) return keystorePasswordFile;
  throw new ConfigurationError(
    'AUTORESEARCH_KEYSTORE_PASSWORD_FILE',
    'is not set',
    'Point it to the file with the password of AUTORESEARCH_KEYSTORE.',
  );
}

function assertPayer(key: KeyHolder, payer: `0x${string}` | undefined): KeyHolder {
  if (payer === undefined || isAddressEqual(payer, key.address)) return key;
  throw new ConfigurationError(
    'AUTORESEARCH_PAYER',
    `is ${payer}, but the configured key is that of ${key.address}`,
    'Unset it, or configure the key of that address.',
  );
}
