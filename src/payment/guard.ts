import {
  getAddress,
  type Hex,
  isAddressEqual,
  keccak256,
  recoverMessageAddress,
  recoverTransactionAddress,
  recoverTypedDataAddress,
} from 'viem';
import { CoordinatorError } from '../base/errors.ts';
import type { Clock } from '../base/time.ts';
import {
  buildFeedbackTransaction,
  type FeedbackTransaction,
  findPlanProblem,
  type JournaledFeedback,
  readSignedFeedback,
} from './feedback-transaction.ts';
import type { JournaledIntent } from './intent.ts';
import {
  buildSignInText,
  createSignInNonce,
  encodeSignIn,
  SIGN_IN_LIFE_MS,
  type SignInCredential,
  type SignInRequest,
  type SignInText,
} from './sign-in.ts';

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
  /** Signs with the prefix of EIP-191, so that the signature is one of no transaction and no typed data. */
  signText(text: SignInText): Promise<Hex>;
  /** Signs a feedback; the answer is the whole transaction, ready to be sent. */
  signFeedback(transaction: FeedbackTransaction): Promise<Hex>;
}

export type RefusalCode =
  | 'wrong_payer'
  | 'offer_differs'
  | 'over_cap'
  | 'validity'
  | 'bad_signature'
  | 'no_sign_in_text'
  | 'bad_feedback'
  | 'over_gas_cap';

/** The guard refused to sign, or a signature it got back is not usable. */
export class GuardError extends CoordinatorError {
  override readonly name = 'GuardError';
  readonly nextStep: string;
  constructor(
    readonly code: RefusalCode,
    message: string,
  ) {
    super(`${message} Nothing was sent.`);
    this.nextStep = NEXT_STEPS[code] ?? 'Probe the worker again for a fresh quote.';
  }
}

const NEXT_STEPS: Partial<Record<RefusalCode, string>> = {
  bad_signature: 'Run `doctor` to check the signer and its key.',
  no_sign_in_text: 'Ask the operator of the worker for the result.',
  bad_feedback: 'Look at the dry run of `feedback`, which sends nothing.',
  over_gas_cap: 'Try again when gas is cheaper.',
};

/** Half of the order of secp256k1: USDC refuses a signature whose `s` is above it. */
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
const SIGNATURE = /^0x[0-9a-fA-F]{130}$/;

/** A sign-in whose signature took longer than this is not used: its gate may refuse it as too old, in milliseconds. */
const MAX_SIGN_IN_AGE_MS = SIGN_IN_LIFE_MS / 2;

/**
 * The only way to a signature (invariant 6). It signs three kinds of things and hands out a signature only after it
 * recovered to the payer: a transfer that equals a journaled intent with the asset and domain of our own table, a
 * sign-in at a worker, whose text it makes itself, and a journaled feedback, whose transaction it makes itself: without
 * value, to the pinned registry of its chain.
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

  /**
   * Signs in as the wallet that paid, once: each call makes a text of its own with a fresh nonce. Nobody else has a say
   * in that text, and it moves no money, so it is signed while spending is frozen, too.
   * @throws GuardError when the wallet did not pay there, the host fits no such text, or the signature is unusable
   */
  async signIn(request: SignInRequest): Promise<SignInCredential> {
    this.#assertPayer(request.payer);
    const issuedAtMs = this.#clock.nowMs();
    const text = buildSignInText(request, createSignInNonce(), issuedAtMs);
    if (text === null) throw new GuardError('no_sign_in_text', "The worker's host cannot stand in a sign-in text.");
    const signature = normaliseSignature(await this.#keyHolder.signText(text));
    const signer = await recoverMessageAddress({ message: text, signature }).catch(() => null);
    if (signer === null || !isAddressEqual(signer, request.payer))
      throw new GuardError('bad_signature', 'The signer answered with a signature of another key or text.');
    if (this.#clock.nowMs() - issuedAtMs > MAX_SIGN_IN_AGE_MS)
      throw new GuardError('validity', 'The signer took so long that the sign-in is too old to be used.');
    return encodeSignIn(text, signature);
  }

  /**
   * Signs a journaled feedback as the one who paid.
   * @returns the transaction in bytes and its hash; it is the expected one, field by field
   * @throws GuardError when the plan breaks a rule, or the signer answers with another transaction
   */
  async signFeedback(plan: JournaledFeedback): Promise<{ readonly raw: Hex; readonly tx: Hex }> {
    this.#assertPayer(plan.client);
    const problem = findPlanProblem(plan);
    if (problem) throw new GuardError(problem.code, problem.text);
    const expected = buildFeedbackTransaction(plan);
    const raw = readSignedFeedback(await this.#keyHolder.signFeedback(expected), expected);
    if (raw === null) throw new GuardError('bad_signature', 'The signer answered with another transaction.');
    const signer = await recoverTransactionAddress({ serializedTransaction: raw }).catch(() => null);
    if (signer === null || !isAddressEqual(signer, plan.client))
      throw new GuardError('bad_signature', 'The signer answered with a transaction of another key.');
    return { raw, tx: keccak256(raw) };
  }

  #assertPayer(payer: Hex): void {
    if (isAddressEqual(payer, this.#keyHolder.address)) return;
    throw new GuardError(
      'wrong_payer',
      `The journaled payment is from ${payer}, the key is ${this.#keyHolder.address}.`,
    );
  }

  #assertAllowed(intent: JournaledIntent): void {
    this.#assertPayer(intent.payer);
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
