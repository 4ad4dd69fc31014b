import { getAddress, type Hex, recoverTypedDataAddress } from 'viem';
import { CoordinatorError } from '../base/errors.ts';
import type { Clock } from '../base/time.ts';
import type { JournaledIntent } from './intent.ts';

/** EIP-712 data of EIP-3009. */
export interface TransferTypedData {
  readonly types: typeof TRANSFER_TYPES;
  readonly primaryType: 'TransferWithAuthorization';
  readonly domain: { name: string; version: string; chainId: number; verifyingContract: `0x${string}` };
  readonly message: {
    readonly from: `0x${string}`;
    readonly to: `0x${string}`;
    readonly value: bigint;
    readonly validAfter: bigint;
    readonly validBefore: bigint;
    readonly nonce: Hex;
  };
}

const TRANSFER_TYPES = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
} as const;

/** Something that holds a key. Nothing but the guard is ever given one. */
export interface KeyHolder {
  readonly address: `0x${string}`;
  signTransfer(data: TransferTypedData): Promise<Hex>;
}

export type RefusalCode = 'wrong_payer' | 'offer_differs' | 'over_cap' | 'validity' | 'bad_signature';

/** The guard refused to sign, or a signature it got back is not usable. */
export class GuardError extends CoordinatorError {
  override readonly name = 'GuardError';
  readonly nextStep: string;
  constructor(
    readonly code: RefusalCode,
    message: string,
  ) {
    super(`${message} Nothing was sent.`);
    this.nextStep =
      code === 'bad_signature'
        ? 'Run `doctor` to check the signer and its key.'
        : 'Probe the worker again for a fresh quote.';
  }
}

/** Half of the order of secp256k1: USDC refuses a signature whose `s` is above it. */
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
const SIGNATURE = /^0x[0-9a-fA-F]{130}$/;

/**
 * The only way to a signature (invariant 6). It signs one kind of thing, a transfer that equals a journaled intent with
 * the asset and domain of our own table, and hands out a signature only after it recovered to the payer.
 */
export class SigningGuard {
  readonly #keyHolder: KeyHolder;
  readonly #limits: { readonly maxPriceAtomic: bigint; readonly maxValiditySeconds: number };
  readonly #clock: Clock;

  constructor(keyHolder: KeyHolder, limits: { maxPriceAtomic: bigint; maxValiditySeconds: number }, clock: Clock) {
    this.#keyHolder = keyHolder;
    this.#limits = limits;
    this.#clock = clock;
  }

  /** The address that pays. */
  get payer(): `0x${string}` {
    return this.#keyHolder.address;
  }

  /**
   * Signs the transfer of a journaled intent.
   * @throws GuardError when the intent breaks a rule, or the signer answers with something unusable
   */
  async sign(intent: JournaledIntent): Promise<Hex> {
    this.#assertAllowed(intent);
    const data = buildTransferData(intent);
    const signature = normaliseSignature(await this.#keyHolder.signTransfer(data));
    // From values that lie on no curve nothing can be recovered.
    const signer = await recoverTypedDataAddress({ ...data, signature }).catch(() => null);
    if (signer === null || getAddress(signer) !== getAddress(intent.payer)) {
      throw new GuardError('bad_signature', 'The signer answered with a signature of another key.');
    }
    // A slow signer or an approval by hand may have used up the window that the run needs.
    this.#assertAllowed(intent);
    return signature;
  }

  #assertAllowed(intent: JournaledIntent): void {
    if (getAddress(intent.payer) !== getAddress(this.#keyHolder.address)) {
      throw new GuardError(
        'wrong_payer',
        `The journaled payment is from ${intent.payer}, the key is ${this.#keyHolder.address}.`,
      );
    }
    if (intent.valueAtomic <= 0n || intent.valueAtomic > this.#limits.maxPriceAtomic) {
      throw new GuardError(
        'over_cap',
        `The payment of ${intent.valueAtomic} atomic USDC is above the cap of one experiment.`,
      );
    }
    const leftSeconds = intent.validBefore - this.#clock.nowMs() / 1000;
    const isInRange = leftSeconds > 0 && leftSeconds <= this.#limits.maxValiditySeconds + 1;
    if (!Number.isSafeInteger(intent.validBefore) || !isInRange) {
      throw new GuardError(
        'validity',
        `The payment would be valid for another ${Math.floor(leftSeconds)} seconds, which is out of range.`,
      );
    }
  }
}

/** The typed data of an intent: every field from the journal, the domain from our table. */
export function buildTransferData(intent: JournaledIntent): TransferTypedData {
  const { asset, chainId } = intent.chain;
  return {
    types: TRANSFER_TYPES,
    primaryType: 'TransferWithAuthorization',
    domain: { name: asset.domainName, version: asset.domainVersion, chainId, verifyingContract: asset.address },
    message: {
      from: intent.payer,
      to: intent.payTo,
      value: intent.valueAtomic,
      validAfter: 0n,
      validBefore: BigInt(intent.validBefore),
      nonce: intent.nonce,
    },
  };
}

/** Checks the form of a signature and brings an old signer's `v` of 0 or 1 to 27 or 28 (remote-signer.md section 4). */
function normaliseSignature(signature: string): Hex {
  if (!SIGNATURE.test(signature))
    throw new GuardError('bad_signature', 'The signer answered with something that is no 65-byte signature.');
  const v = Number.parseInt(signature.slice(130), 16);
  const fixed = v < 2 ? v + 27 : v;
  if (fixed !== 27 && fixed !== 28)
    throw new GuardError('bad_signature', 'The signer answered with an unknown recovery value.');
  if (BigInt(`0x${signature.slice(66, 130)}`) > HALF_ORDER)
    throw new GuardError('bad_signature', 'The signer answered with a malleable signature.');
  return `0x${signature.slice(2, 130)}${fixed.toString(16)}`;
}
