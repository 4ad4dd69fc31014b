import { decodeFunctionResult, encodeFunctionData, type Hex } from 'viem';
import * as z from 'zod';
import { identityRegistryAbi } from '../base/abi.ts';
import { RpcError, type RpcNode, type RpcOutcome } from '../net/rpc.ts';
import type { RegistryPlace } from './registries.ts';
import { readAddress } from './tolerant.ts';

/** What a registry says of one token. */
export type TokenAnswer =
  | {
      readonly kind: 'found';
      readonly owner: `0x${string}` | null;
      /** Null: none is set, as after every transfer. Absent: the node could not say. */
      readonly wallet?: `0x${string}` | null | undefined;
      /** Absent when it was not asked for, or when the node could not say. */
      readonly uri?: string | undefined;
    }
  /** The registry itself says that there is no such token. */
  | { readonly kind: 'absent' }
  /** The node did not say. */
  | { readonly kind: 'unknown' };

/** Why a chain's registry cannot be read. */
export type RegistryProblem = 'no_rpc' | 'unknown_registry' | 'no_registry' | 'rpc_unreachable' | 'rpc_refused';

/** Calls of one batch at first; providers cap it without saying so (erc8004.md section 11). */
const FIRST_BATCH = 50;
/** Batches of one call that may fail in a row before the node counts as away. */
const MAX_FAILURES = 3;
/** Selector of ERC721NonexistentToken. */
const NONEXISTENT = '0x7e273289';

const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x([0-9a-fA-F]{2})*$/.test(value);
const Bytes = z.custom<Hex>(isHex);
const Block = z.looseObject({ hash: z.string().regex(/^0x[0-9a-fA-F]{64}$/) });

type Getter = 'ownerOf' | 'getAgentWallet' | 'tokenURI';

/** Reads one registry by JSON-RPC batches: Multicall3 is missing on some chains, and its failures look like absence. */
export class RegistryCalls {
  #batchSize = FIRST_BATCH;

  constructor(
    readonly rpc: RpcNode,
    readonly place: RegistryPlace,
  ) {}

  /**
   * Makes sure that there is an identity registry at the address.
   * @returns the chain's first block, which tells one chain from another of the same id (null where the node has
   *   dropped it), or what is wrong
   */
  async check(signal: AbortSignal): Promise<{ readonly genesis: string | null } | RegistryProblem> {
    const { address } = this.place;
    const version = encodeFunctionData({ abi: identityRegistryAbi, functionName: 'getVersion' });
    const calls = [
      { method: 'eth_getCode', params: [address, 'latest'] },
      { method: 'eth_call', params: [{ to: address, data: version }, 'latest'] },
      { method: 'eth_getBlockByNumber', params: ['0x0', false] },
    ];
    const [code, answer, block] = await this.#send(calls, signal);
    if (!code?.ok) return code?.rpcCode === undefined ? 'rpc_unreachable' : 'rpc_refused';
    const hasCode = isHex(code.value) && code.value !== '0x';
    const isRegistry = hasCode && answer?.ok === true && decode('getVersion', answer.value) !== undefined;
    if (!isRegistry) return 'no_registry';
    return { genesis: (block?.ok ? Block.safeParse(block.value).data?.hash : undefined) ?? null };
  }

  /**
   * Reads owner, wallet and, if wanted, the agentURI of tokens; what is known is handed out batch by batch. It never
   * rejects: a token that the node does not answer for is `unknown`.
   * @param agentIds decimal
   */
  async readTokens(
    agentIds: readonly string[],
    options: { readonly withUri: boolean; readonly signal: AbortSignal },
    onAnswer: (agentId: string, answer: TokenAnswer) => void,
  ): Promise<void> {
    const getters: Getter[] = options.withUri
      ? ['ownerOf', 'getAgentWallet', 'tokenURI']
      : ['ownerOf', 'getAgentWallet'];
    for (let at = 0; at < agentIds.length; ) {
      const ids = agentIds.slice(at, at + Math.max(1, Math.floor(this.#batchSize / getters.length)));
      const calls = ids.flatMap((id) => getters.map((getter) => this.#buildCall(getter, id)));
      const outcomes = await this.#send(calls, options.signal);
      for (const [index, id] of ids.entries()) {
        const [owner, wallet, uri] = outcomes.slice(index * getters.length, (index + 1) * getters.length);
        onAnswer(id, readToken(owner, wallet, uri));
      }
      at += ids.length;
    }
  }

  #buildCall(functionName: Getter, agentId: string) {
    const data = encodeFunctionData({ abi: identityRegistryAbi, functionName, args: [BigInt(agentId)] });
    return { method: 'eth_call', params: [{ to: this.place.address, data }, 'latest'] };
  }

  /** Sends calls in batches that are halved whenever the node does not take one; never rejects. */
  async #send(calls: Parameters<RpcNode['batch']>[0], signal: AbortSignal): Promise<readonly RpcOutcome[]> {
    const outcomes: RpcOutcome[] = [];
    let failures = 0;
    while (outcomes.length < calls.length && failures < MAX_FAILURES && !signal.aborted) {
      const batch = calls.slice(outcomes.length, outcomes.length + this.#batchSize);
      const answer = await this.#tryBatch(batch, signal);
      const isTaken = answer.some((outcome) => outcome.ok || outcome.data !== undefined);
      if (isTaken || batch.length === 1) {
        outcomes.push(...answer);
        failures = isTaken ? 0 : failures + 1;
      } else {
        this.#batchSize = Math.max(1, batch.length >> 1);
      }
    }
    while (outcomes.length < calls.length) outcomes.push(UNANSWERED);
    return outcomes;
  }

  async #tryBatch(calls: Parameters<RpcNode['batch']>[0], signal: AbortSignal): Promise<readonly RpcOutcome[]> {
    try {
      return await this.rpc.batch(calls, { signal });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return calls.map(() => ({ ...UNANSWERED, rpcCode: error.rpcCode }));
    }
  }
}

const UNANSWERED: RpcOutcome = { ok: false, rpcCode: undefined, data: undefined };

function readToken(owner?: RpcOutcome, wallet?: RpcOutcome, uri?: RpcOutcome): TokenAnswer {
  if (owner?.ok === false && owner.data?.startsWith(NONEXISTENT)) return { kind: 'absent' };
  if (!owner?.ok) return { kind: 'unknown' };
  const address = decode('ownerOf', owner.value);
  if (address === undefined) return { kind: 'unknown' };
  return {
    kind: 'found',
    owner: readAddress(address),
    wallet: wallet?.ok ? readAddress(decode('getAgentWallet', wallet.value)) : undefined,
    uri: uri?.ok ? decode('tokenURI', uri.value) : undefined,
  };
}

/** The text or address that a getter answered; undefined when it is something else. */
function decode(functionName: Getter | 'getVersion', value: unknown): string | undefined {
  const data = Bytes.safeParse(value).data;
  if (data === undefined) return undefined;
  try {
    return decodeFunctionResult({ abi: identityRegistryAbi, functionName, data });
  } catch {
    return undefined;
  }
}
