import { encodeFunctionData, type Hex, keccak256, parseTransaction, serializeTransaction } from 'viem';
import { reputationRegistryAbi } from '../base/abi.ts';
import { findRegistries } from '../base/registries.ts';
import { findNativeCoin } from './native-coin.ts';

/** What is to be said about an agent, as the reputation registry takes it (erc8004.md section 6). */
export interface FeedbackCall {
  readonly agentId: bigint;
  /** 0 to 100. */
  readonly value: bigint;
  readonly endpoint: string;
  /** The feedback file itself, as a `data:` URI. */
  readonly feedbackUri: string;
  /** Keccak-256 of the file's bytes. */
  readonly feedbackHash: Hex;
}

/** One feedback with everything that its transaction needs. */
export interface FeedbackPlan {
  readonly experimentId: string;
  /** Chain of the agent's registry. */
  readonly chainId: number;
  /** Who paid, and now rates. */
  readonly client: Hex;
  readonly call: FeedbackCall;
  readonly nonce: number;
  readonly gasLimit: bigint;
  /** Wei. */
  readonly maxFeePerGas: bigint;
  readonly maxPriorityFeePerGas: bigint;
}

declare const journaledBrand: unique symbol;

/** A plan that is on disk: only the journal makes one, after its transaction is committed, and only it can be signed. */
export type JournaledFeedback = FeedbackPlan & { readonly [journaledBrand]: true };

declare const transactionBrand: unique symbol;

/** The transaction of a feedback. Only this file makes one, so a key holder that takes nothing else signs no other. */
export type FeedbackTransaction = {
  readonly type: 'eip1559';
  readonly chainId: number;
  readonly to: Hex;
  readonly nonce: number;
  readonly gas: bigint;
  readonly maxFeePerGas: bigint;
  readonly maxPriorityFeePerGas: bigint;
  readonly value: 0n;
  readonly data: Hex;
} & { readonly [transactionBrand]: true };

/** How every feedback of ours is tagged (erc8004.md section 8). */
export const FEEDBACK_TAGS = ['starred', 'x402'] as const;
/** How every file of ours is carried. */
export const FEEDBACK_URI_PREFIX = 'data:application/json;base64,';

/** Gas of one feedback: measured 225,132 with a file of 888 bytes; rollups that count their data in gas take more. */
const MAX_GAS = 2_000_000n;
const MAX_URI_CHARS = 8_192;
const MAX_ENDPOINT_CHARS = 2_048;
const MAX_UINT256 = 2n ** 256n - 1n;

/** The call's bytes. */
export function encodeFeedback({ agentId, value, endpoint, feedbackUri, feedbackHash }: FeedbackCall): Hex {
  const [tag1, tag2] = FEEDBACK_TAGS;
  return encodeFunctionData({
    abi: reputationRegistryAbi,
    functionName: 'giveFeedback',
    args: [agentId, value, 0, tag1, tag2, endpoint, feedbackUri, feedbackHash],
  });
}

/** Most that a feedback can cost, in wei of the chain's native coin. */
export function maxFeeWei({ gasLimit, maxFeePerGas }: Pick<FeedbackPlan, 'gasLimit' | 'maxFeePerGas'>): bigint {
  return gasLimit * maxFeePerGas;
}

/** Why a plan is none that may be signed; null when it is fine. */
export function findPlanProblem(plan: FeedbackPlan): { code: 'bad_feedback' | 'over_gas_cap'; text: string } | null {
  if (!findRegistries(plan.chainId))
    return { code: 'bad_feedback', text: `There is no known reputation registry on chain ${plan.chainId}.` };
  if (!isOurFeedback(plan.call) || !Number.isSafeInteger(plan.nonce) || plan.nonce < 0)
    return { code: 'bad_feedback', text: 'The feedback is not one that this program gives.' };
  const { symbol, feeCapWei } = findNativeCoin(plan.chainId);
  const isSane =
    plan.gasLimit > 0n && plan.maxPriorityFeePerGas >= 0n && plan.maxPriorityFeePerGas <= plan.maxFeePerGas;
  if (isSane && plan.gasLimit <= MAX_GAS && maxFeeWei(plan) <= feeCapWei) return null;
  return {
    code: 'over_gas_cap',
    text: `The transaction may cost ${plan.gasLimit} gas or ${maxFeeWei(plan)} wei of ${symbol}, which is above the cap of ${MAX_GAS} gas and ${feeCapWei} wei.`,
  };
}

/** A rating from 0 to 100 whose file is the one that it names. */
function isOurFeedback({ agentId, value, endpoint, feedbackUri, feedbackHash }: FeedbackCall): boolean {
  const file = feedbackUri.slice(FEEDBACK_URI_PREFIX.length);
  return (
    agentId >= 0n &&
    agentId <= MAX_UINT256 &&
    value >= 0n &&
    value <= 100n &&
    endpoint.length <= MAX_ENDPOINT_CHARS &&
    feedbackUri.length <= MAX_URI_CHARS &&
    feedbackUri.startsWith(FEEDBACK_URI_PREFIX) &&
    keccak256(Buffer.from(file, 'base64')) === feedbackHash
  );
}

/**
 * The transaction of a plan: no value, to the pinned registry of its chain, with the call's own encoding.
 * @throws TypeError for a chain without a registry
 */
export function buildFeedbackTransaction(plan: FeedbackPlan): FeedbackTransaction {
  const registries = findRegistries(plan.chainId);
  if (!registries) throw new TypeError(`no reputation registry on chain ${plan.chainId}`);
  const transaction = {
    type: 'eip1559',
    chainId: plan.chainId,
    to: registries.reputation,
    nonce: plan.nonce,
    gas: plan.gasLimit,
    maxFeePerGas: plan.maxFeePerGas,
    maxPriorityFeePerGas: plan.maxPriorityFeePerGas,
    value: 0n,
    data: encodeFeedback(plan.call),
  } as const;
  if (!isFeedback(transaction)) throw new TypeError('unreachable');
  return transaction;
}

function isFeedback(_transaction: object): _transaction is FeedbackTransaction {
  return true;
}

/** Half of the order of secp256k1: nodes refuse a signature whose `s` is above it. */
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;
const MAX_RAW_CHARS = 65_536;

/**
 * Reads a signed transaction and makes sure that it is the expected one: put together from our fields and its signature
 * it has to give the same bytes.
 * @returns null when it does not
 */
export function readSignedFeedback(raw: string, expected: FeedbackTransaction): `0x02${string}` | null {
  const text = raw.toLowerCase();
  if (!isEip1559(text) || text.length > MAX_RAW_CHARS) return null;
  try {
    const { r, s, yParity } = parseTransaction(text);
    if (r === undefined || s === undefined || BigInt(s) > HALF_ORDER) return null;
    if (yParity !== 0 && yParity !== 1) return null;
    return serializeTransaction(expected, { r, s, yParity }) === text ? text : null;
  } catch {
    return null;
  }
}

function isEip1559(text: string): text is `0x02${string}` {
  return /^0x02(?:[0-9a-f]{2})+$/.test(text);
}
