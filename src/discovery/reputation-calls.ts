import { decodeFunctionResult, encodeFunctionData, type Hex } from 'viem';
import * as z from 'zod';
import { reputationRegistryAbi } from '../base/abi.ts';
import { type RpcCall, RpcError, type RpcNode, type RpcOutcome } from '../net/rpc.ts';
import { type FeedbackRow, REPUTATION_TAGS, type ReputationTag, TAG_SPELLINGS } from './reputation-score.ts';
import { readAddress } from './tolerant.ts';

const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x([0-9a-fA-F]{2})*$/.test(value);
const Bytes = z.custom<Hex>(isHex);
const SPELLINGS = REPUTATION_TAGS.flatMap((tag) => TAG_SPELLINGS[tag].map((spelling) => ({ tag, spelling })));
/** Digits behind the point that a registry takes at most. */
const MAX_DECIMALS = 18;
/** Newest rows that are read one by one of a client that has too many for one call. */
const MAX_SINGLE_ROWS = 50;

/** The calls of one reputation registry about one agent; each is one request, and an answer of another form is none. */
export class ReputationCalls {
  readonly #agentId: bigint;

  constructor(
    private readonly rpc: RpcNode,
    private readonly registry: Hex,
    agentId: string,
  ) {
    this.#agentId = BigInt(agentId);
  }

  /** Everybody who ever rated the agent, oldest first, lower case; null when the node does not say. */
  async fetchClients(signal: AbortSignal): Promise<readonly Hex[] | null> {
    const data = encodeFunctionData({
      abi: reputationRegistryAbi,
      functionName: 'getClients',
      args: [this.#agentId],
    });
    const [answer] = await this.#send([this.#call(data)], signal);
    const bytes = readBytes(answer);
    if (bytes === null) return null;
    const clients = attempt(() =>
      decodeFunctionResult({ abi: reputationRegistryAbi, functionName: 'getClients', data: bytes }),
    );
    return clients?.flatMap((client) => readAddress(client) ?? []).map(lower) ?? null;
  }

  /**
   * Reads the standing rows of some clients, all tags that we understand in one batch.
   * @param clients empty: all of them
   * @returns null when the node cannot answer for so many at once
   */
  async fetchRows(clients: readonly Hex[], signal: AbortSignal): Promise<readonly FeedbackRow[] | null> {
    const calls = SPELLINGS.map(({ spelling }) =>
      this.#call(
        encodeFunctionData({
          abi: reputationRegistryAbi,
          functionName: 'readAllFeedback',
          args: [this.#agentId, [...clients], spelling, '', false],
        }),
      ),
    );
    const answers = await this.#send(calls, signal);
    const rows: FeedbackRow[] = [];
    for (const [index, { tag }] of SPELLINGS.entries()) {
      const bytes = readBytes(answers[index]);
      const read = bytes && decodeRows(bytes, tag);
      if (!read) return null;
      rows.push(...read);
    }
    return rows;
  }

  /** Reads the newest rows of one client one by one; null when the node does not say. */
  async fetchNewestRows(client: Hex, signal: AbortSignal): Promise<readonly FeedbackRow[] | null> {
    const last = await this.#fetchLastIndex(client, signal);
    if (last === null) return null;
    const first = last > BigInt(MAX_SINGLE_ROWS) ? last - BigInt(MAX_SINGLE_ROWS) + 1n : 1n;
    const indexes = Array.from({ length: Number(last - first + 1n) }, (_, offset) => first + BigInt(offset));
    const calls = indexes.map((index) =>
      this.#call(
        encodeFunctionData({
          abi: reputationRegistryAbi,
          functionName: 'readFeedback',
          args: [this.#agentId, client, index],
        }),
      ),
    );
    const answers = await this.#send(calls, signal);
    return indexes.flatMap((index, position) => {
      const bytes = readBytes(answers[position]);
      const row = bytes && decodeRow(bytes, client, index);
      return row ? [row] : [];
    });
  }

  async #fetchLastIndex(client: Hex, signal: AbortSignal): Promise<bigint | null> {
    const data = encodeFunctionData({
      abi: reputationRegistryAbi,
      functionName: 'getLastIndex',
      args: [this.#agentId, client],
    });
    const [answer] = await this.#send([this.#call(data)], signal);
    const bytes = readBytes(answer);
    if (bytes === null) return null;
    return attempt(() =>
      decodeFunctionResult({ abi: reputationRegistryAbi, functionName: 'getLastIndex', data: bytes }),
    );
  }

  #call(data: Hex): RpcCall {
    return { method: 'eth_call', params: [{ to: this.registry, data }, 'latest'] };
  }

  /** In one batch, or in halves where the node does not take that; never rejects. */
  async #send(calls: readonly RpcCall[], signal: AbortSignal): Promise<readonly RpcOutcome[]> {
    try {
      return await this.rpc.batch(calls, { signal });
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      if (calls.length === 1 || signal.aborted) return calls.map(() => UNANSWERED);
      const half = calls.length >> 1;
      const first = await this.#send(calls.slice(0, half), signal);
      return [...first, ...(await this.#send(calls.slice(half), signal))];
    }
  }
}

const UNANSWERED: RpcOutcome = { ok: false, rpcCode: undefined, data: undefined };

function readBytes(outcome: RpcOutcome | undefined): Hex | null {
  return (outcome?.ok ? Bytes.safeParse(outcome.value).data : undefined) ?? null;
}

/** What a decoder makes of bytes of the chain; null where they have another form. */
function attempt<T>(decode: () => T): T | null {
  try {
    return decode();
  } catch {
    return null;
  }
}

/** The seven lists of readAllFeedback; rows are asked for by tag, so what they say of it is not read again. */
function decodeRows(data: Hex, tag: ReputationTag): FeedbackRow[] | null {
  const lists = attempt(() =>
    decodeFunctionResult({ abi: reputationRegistryAbi, functionName: 'readAllFeedback', data }),
  );
  if (!lists) return null;
  const [clients, indexes, values, decimals] = lists;
  return clients.flatMap((client, position) => {
    const [index, value, digits] = [indexes[position], values[position], decimals[position]];
    if (index === undefined || value === undefined || digits === undefined || digits > MAX_DECIMALS) return [];
    return [{ client: lower(client), index, tag, value, decimals: digits }];
  });
}

function decodeRow(data: Hex, client: Hex, index: bigint): FeedbackRow | null {
  const row = attempt(() => decodeFunctionResult({ abi: reputationRegistryAbi, functionName: 'readFeedback', data }));
  if (!row) return null;
  const [value, decimals, tag1, , isRevoked] = row;
  const known = SPELLINGS.find(({ spelling }) => spelling === tag1);
  if (!known || isRevoked || decimals > MAX_DECIMALS) return null;
  return { client, index, tag: known.tag, value, decimals };
}

function lower(address: Hex): Hex {
  return `0x${address.slice(2).toLowerCase()}`;
}
