import {
  type Address,
  createPublicClient,
  custom,
  defineChain,
  type Hex,
  type PublicClient,
  parseAbi,
  parseEventLogs,
} from 'viem';
import type { PaymentChain } from '../base/chains.ts';
import { type AtomicUsdc, atomicUsdc } from '../base/money.ts';
import { createRpcRequest, type RpcRequest } from '../net/rpc.ts';
import type { PaymentIntent } from './intent.ts';

const TOKEN_ABI = parseAbi([
  'function balanceOf(address account) view returns (uint256)',
  'function authorizationState(address authorizer, bytes32 nonce) view returns (bool)',
  'event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)',
  'event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce)',
  'event Transfer(address indexed from, address indexed to, uint256 value)',
]);

/** How many blocks one log request may span; halved when the node refuses. */
const LOG_WINDOW_BLOCKS = 2_000n;
const SMALLEST_WINDOW_BLOCKS = 10n;
/** Where an intent was written without a chain in reach, its settlement is looked for in so many newest blocks: more than a day on Base. */
const MAX_AGE_BLOCKS = 50_000n;

/** How many blocks must follow the one that proves an expiry, so that no small reorganisation takes the proof back. */
const CONFIRMATIONS = 2n;

/** Where an authorization stands on the chain, as of one block. */
export type ChainState =
  | { readonly kind: 'settled'; readonly tx: Hex; readonly block: bigint }
  /** The nonce is used, yet by a cancellation: no money can move. */
  | { readonly kind: 'cancelled'; readonly tx: Hex }
  /** Unused, and a confirmed block's time is past `validBefore`: no money can move any more. */
  | { readonly kind: 'expired' }
  /** Unused, and the worker may still use it. */
  | { readonly kind: 'live' }
  /** The nonce is used, but its transaction was not found yet. */
  | { readonly kind: 'used' };

/** Reads one chain: balances, time and the fate of authorizations. Nothing here writes. */
export class ChainReader {
  readonly #client: PublicClient;
  readonly #chain: PaymentChain;
  readonly #request: RpcRequest;

  constructor(chain: PaymentChain, rpcUrl: string) {
    this.#chain = chain;
    this.#request = createRpcRequest(rpcUrl);
    this.#client = createPublicClient({
      chain: defineChain({
        id: chain.chainId,
        name: chain.name,
        nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
        rpcUrls: { default: { http: [] } },
      }),
      transport: custom({ request: this.#request }, { retryCount: 2, retryDelay: 200 }),
    });
  }

  /** The chain id that the node itself reports. */
  async fetchChainId(): Promise<number> {
    return this.#client.getChainId();
  }

  /** Number and time (Unix seconds) of the newest block. */
  async fetchHead(): Promise<{ block: bigint; timeUnix: number }> {
    const block = await this.#client.getBlock({ blockTag: 'latest' });
    return { block: block.number, timeUnix: Number(block.timestamp) };
  }

  /** USDC of an address, atomic. */
  async fetchBalance(owner: Address): Promise<AtomicUsdc> {
    const balance = await this.#client.readContract({
      address: this.#chain.asset.address,
      abi: TOKEN_ABI,
      functionName: 'balanceOf',
      args: [owner],
    });
    return atomicUsdc(balance > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : balance);
  }

  /** Whether code lives at an address: a contract wallet cannot sign as we sign. */
  async hasCode(address: Address): Promise<boolean> {
    const code = await this.#client.getCode({ address });
    return code !== undefined && code !== '0x';
  }

  /**
   * Finds out what became of an authorization (x402.md section 5). A receipt's transaction is only a place to look.
   * @param fromBlock where to start to search  @param hintTx transaction that the worker named
   */
  async fetchState(intent: PaymentIntent, fromBlock: bigint | null, hintTx: string | null): Promise<ChainState> {
    // The answer is asked as of that very block: behind one address may be several nodes, and one that lags would call
    // unused what is used, which together with the time of the newer block would look like proof of an expiry.
    const head = await this.fetchHead();
    const isUsed = await this.#client.readContract({
      address: this.#chain.asset.address,
      abi: TOKEN_ABI,
      functionName: 'authorizationState',
      args: [intent.payer, intent.nonce],
      blockNumber: head.block,
    });
    if (!isUsed) return { kind: (await this.#isConfirmedPast(intent.validBefore, head)) ? 'expired' : 'live' };
    return (await this.#findInHint(intent, hintTx)) ?? (await this.#findInLogs(intent, fromBlock)) ?? { kind: 'used' };
  }

  async #isConfirmedPast(timeUnix: number, head: { block: bigint; timeUnix: number }): Promise<boolean> {
    if (head.timeUnix <= timeUnix || head.block < CONFIRMATIONS) return false;
    const confirmed = await this.#client.getBlock({ blockNumber: head.block - CONFIRMATIONS });
    return Number(confirmed.timestamp) > timeUnix;
  }

  async #findInHint(intent: PaymentIntent, hintTx: string | null): Promise<ChainState | null> {
    if (hintTx === null || !/^0x[0-9a-fA-F]{64}$/.test(hintTx)) return null;
    return this.#readTransaction(intent, `0x${hintTx.slice(2)}`).catch(() => null);
  }

  async #findInLogs(intent: PaymentIntent, fromBlock: bigint | null): Promise<ChainState | null> {
    const latest = await this.#client.getBlockNumber({ cacheTime: 0 });
    const earliest = latest > MAX_AGE_BLOCKS ? latest - MAX_AGE_BLOCKS : 0n;
    let windowBlocks = LOG_WINDOW_BLOCKS;
    for (let start = fromBlock ?? earliest; start <= latest; ) {
      const end = start + windowBlocks - 1n < latest ? start + windowBlocks - 1n : latest;
      const logs = await this.#fetchUseLogs(intent, start, end).catch(() => null);
      if (!logs) {
        if (windowBlocks <= SMALLEST_WINDOW_BLOCKS) return null;
        windowBlocks /= 2n;
        continue;
      }
      const tx = logs[0]?.transactionHash;
      if (tx) return this.#readTransaction(intent, tx);
      start = end + 1n;
    }
    return null;
  }

  async #fetchUseLogs(intent: PaymentIntent, fromBlock: bigint, toBlock: bigint) {
    const shared = { address: this.#chain.asset.address, fromBlock, toBlock, strict: true } as const;
    const args = { authorizer: intent.payer, nonce: intent.nonce };
    const [used, cancelled] = await Promise.all([
      this.#client.getLogs({ ...shared, event: TOKEN_ABI[2], args }),
      this.#client.getLogs({ ...shared, event: TOKEN_ABI[3], args }),
    ]);
    return [...used, ...cancelled];
  }

  /** Reads what a transaction did to the authorization; null when it did nothing to it. */
  async #readTransaction(intent: PaymentIntent, hash: Hex): Promise<ChainState | null> {
    const receipt = await this.#client.getTransactionReceipt({ hash });
    if (receipt.status !== 'success') return null;
    const logs = receipt.logs.filter((log) => log.address.toLowerCase() === this.#chain.asset.address.toLowerCase());
    const events = parseEventLogs({ abi: TOKEN_ABI, logs });
    for (const event of events) {
      if (event.eventName === 'Transfer') continue;
      if (!isSame(event.args.authorizer, intent.payer) || event.args.nonce !== intent.nonce) continue;
      if (event.eventName === 'AuthorizationCanceled') return { kind: 'cancelled', tx: hash };
      const hasMoved = events.some(
        (other) =>
          other.eventName === 'Transfer' &&
          isSame(other.args.from, intent.payer) &&
          isSame(other.args.to, intent.payTo) &&
          other.args.value === intent.valueAtomic,
      );
      if (hasMoved) return { kind: 'settled', tx: hash, block: receipt.blockNumber };
    }
    return null;
  }
}

function isSame(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
