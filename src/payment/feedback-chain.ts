import { decodeErrorResult, type Hex, isAddressEqual, numberToHex } from 'viem';
import { decodeEventLog } from 'viem/utils';
import * as z from 'zod';
import { reputationRegistryAbi } from '../base/abi.ts';
import { findRegistries } from '../base/registries.ts';
import { RpcError, type RpcNode } from '../net/rpc.ts';
import { encodeFeedback, type FeedbackCall } from './feedback-transaction.ts';

/** Why the registry would refuse a feedback. */
export type FeedbackRefusal = 'own_agent' | 'unknown_agent' | 'other';

/** What became of a transaction. */
export type FeedbackOutcome =
  | { readonly kind: 'confirmed'; readonly feedbackIndex: bigint }
  | { readonly kind: 'reverted' }
  /** Not in the chain, as far as this node knows. */
  | { readonly kind: 'absent' };

export interface GasOffer {
  readonly gasLimit: bigint;
  /** Wei. */
  readonly maxFeePerGas: bigint;
  readonly maxPriorityFeePerGas: bigint;
}

/** Added to the estimate, in percent: storage and data prices may change until the transaction is mined. */
const GAS_MARGIN_PERCENT = 25n;
/** How many blocks must follow the one by which a nonce is called used for good. */
const CONFIRMATIONS = 2n;

const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x[0-9a-fA-F]*$/.test(value);
const Bytes = z.custom<Hex>(isHex);
const Quantity = z
  .string()
  .regex(/^0x[0-9a-fA-F]{1,64}$/)
  .transform(BigInt);
const Block = z.looseObject({ baseFeePerGas: Quantity.optional() });
const Receipt = z.looseObject({ status: z.enum(['0x0', '0x1']), logs: z.array(z.unknown()) });
const Log = z.looseObject({ address: z.string(), topics: z.tuple([Bytes], Bytes), data: Bytes });

/** One chain's reputation registry, as far as giving feedback goes. Only `broadcast` changes anything. */
export class FeedbackChain {
  readonly #rpc: RpcNode;
  readonly registry: Hex;

  /** @throws TypeError for a chain without the registry */
  constructor(rpc: RpcNode, chainId: number) {
    const registries = findRegistries(chainId);
    if (!registries) throw new TypeError(`no reputation registry on chain ${chainId}`);
    this.#rpc = rpc;
    this.registry = registries.reputation;
  }

  /**
   * Tries a feedback without sending it, and prices it.
   * @returns the gas to offer, or why the registry refuses the feedback
   * @throws RpcError when the node does not answer
   */
  async tryFeedback(client: Hex, call: FeedbackCall): Promise<GasOffer | FeedbackRefusal> {
    const transaction = { from: client, to: this.registry, data: encodeFeedback(call), value: '0x0' };
    const [tried] = await this.#rpc.batch([{ method: 'eth_call', params: [transaction, 'latest'] }]);
    if (!tried?.ok) return this.#explain('eth_call', tried);
    const [estimated] = await this.#rpc.batch([{ method: 'eth_estimateGas', params: [transaction] }]);
    if (!estimated?.ok) return this.#explain('eth_estimateGas', estimated);
    const estimate = this.#read(Quantity, estimated.value, 'eth_estimateGas');
    const gasLimit = (estimate * (100n + GAS_MARGIN_PERCENT)) / 100n;
    return { gasLimit, ...(await this.#fetchFees()) };
  }

  /** Number of the client's next transaction, those that wait included. */
  async fetchNextNonce(client: Hex): Promise<number> {
    const answer = await this.#ask('eth_getTransactionCount', [client, 'pending']);
    return Number(this.#read(Quantity, answer, 'eth_getTransactionCount'));
  }

  /** Whether a transaction with this number is in the chain for good, whichever it is. */
  async isNonceUsed(client: Hex, nonce: number): Promise<boolean> {
    const head = this.#read(Quantity, await this.#ask('eth_blockNumber', []), 'eth_blockNumber');
    if (head < CONFIRMATIONS) return false;
    const block = numberToHex(head - CONFIRMATIONS);
    const answer = await this.#ask('eth_getTransactionCount', [client, block]);
    return this.#read(Quantity, answer, 'eth_getTransactionCount') > BigInt(nonce);
  }

  /** Native coins of an address, wei. */
  async fetchCoins(client: Hex): Promise<bigint> {
    return this.#read(Quantity, await this.#ask('eth_getBalance', [client, 'latest']), 'eth_getBalance');
  }

  /**
   * Sends signed bytes. A node that has them already refuses them, which is no failure: what counts is the receipt.
   * @returns false when the node refused them
   * @throws RpcError when the node does not answer
   */
  async broadcast(raw: Hex): Promise<boolean> {
    try {
      await this.#ask('eth_sendRawTransaction', [raw]);
      return true;
    } catch (error) {
      if (error instanceof RpcError && error.code === 'rpc_refused') return false;
      throw error;
    }
  }

  /** Finds out what became of a transaction. */
  async fetchOutcome(tx: Hex, client: Hex, agentId: bigint): Promise<FeedbackOutcome> {
    const answer = await this.#ask('eth_getTransactionReceipt', [tx]);
    if (answer === null || answer === undefined) return { kind: 'absent' };
    const { status, logs } = this.#read(Receipt, answer, 'eth_getTransactionReceipt');
    if (status === '0x0') return { kind: 'reverted' };
    const [feedbackIndex] = logs.flatMap((item) => this.#readIndex(item, client, agentId));
    return feedbackIndex === undefined ? { kind: 'reverted' } : { kind: 'confirmed', feedbackIndex };
  }

  #readIndex(item: unknown, client: Hex, agentId: bigint): bigint[] {
    const log = Log.safeParse(item).data;
    if (log?.address.toLowerCase() !== this.registry.toLowerCase()) return [];
    try {
      const { topics, data } = log;
      const { eventName, args } = decodeEventLog({ abi: reputationRegistryAbi, topics, data, strict: true });
      const isOurs =
        eventName === 'NewFeedback' && args.agentId === agentId && isAddressEqual(args.clientAddress, client);
      return isOurs ? [args.feedbackIndex] : [];
    } catch {
      return [];
    }
  }

  async #fetchFees(): Promise<Omit<GasOffer, 'gasLimit'>> {
    const [block, tip] = await Promise.all([
      this.#ask('eth_getBlockByNumber', ['latest', false]),
      this.#ask('eth_maxPriorityFeePerGas', []),
    ]);
    const { baseFeePerGas } = this.#read(Block, block, 'eth_getBlockByNumber');
    const maxPriorityFeePerGas = this.#read(Quantity, tip, 'eth_maxPriorityFeePerGas');
    // Twice the base fee lasts for five full blocks.
    return { maxFeePerGas: (baseFeePerGas ?? 0n) * 2n + maxPriorityFeePerGas, maxPriorityFeePerGas };
  }

  #explain(method: string, outcome: { rpcCode: number | undefined; data: string | undefined } | undefined) {
    const data = Bytes.safeParse(outcome?.data).data;
    if (data === undefined || data === '0x') {
      if (outcome?.rpcCode === undefined) throw new RpcError('rpc_unreachable', method);
      return 'other';
    }
    return explainRevert(data);
  }

  #ask(method: string, params: unknown): Promise<unknown> {
    return this.#rpc.request({ method, params });
  }

  #read<T>(schema: z.ZodType<T>, answer: unknown, method: string): T {
    const parsed = schema.safeParse(answer);
    if (!parsed.success) throw new RpcError('rpc_unreachable', method);
    return parsed.data;
  }
}

function explainRevert(data: Hex): FeedbackRefusal {
  try {
    const { errorName, args } = decodeErrorResult({ abi: reputationRegistryAbi, data });
    if (errorName === 'ERC721NonexistentToken') return 'unknown_agent';
    return String(args[0]) === 'Self-feedback not allowed' ? 'own_agent' : 'other';
  } catch {
    return 'other';
  }
}
