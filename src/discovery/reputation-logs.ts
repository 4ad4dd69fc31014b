import { encodeEventTopics, type Hex, keccak256, numberToHex, stringToHex } from 'viem';
import { decodeEventLog } from 'viem/utils';
import * as z from 'zod';
import { reputationRegistryAbi } from '../base/abi.ts';
import { RpcError, type RpcNode } from '../net/rpc.ts';
import { addRange, type BlockRange, findGaps } from './chain-ranges.ts';
import { toQuantity } from './registry-logs.ts';

/** Where the file of one row is: only the event says so, the registry stores it nowhere. */
export interface FeedbackPointer {
  /** Lower case. */
  readonly client: Hex;
  readonly index: bigint;
  readonly value: bigint;
  readonly decimals: number;
  readonly uri: string;
  /** Keccak-256 of the file's bytes, as the client says. */
  readonly hash: Hex;
}

export interface PointerScan {
  /** Newest first. */
  readonly pointers: readonly FeedbackPointer[];
  /** Blocks that need not be read again. */
  readonly covered: readonly BlockRange[];
  readonly isComplete: boolean;
}

/** Blocks of one request once a node has refused the whole range at once (erc8004.md section 11). */
const WINDOW_BLOCKS = 2_000;
/** Requests of one scan; where windows are small, older events have to wait for the next one. */
const MAX_REQUESTS = 30;
/** The newest blocks are read again the next time, since a reorganisation may still change them. */
const CONFIRMATIONS = 2;
/** Ranges that are remembered. */
const MAX_RANGES = 20;
const MAX_LOGS = 10_000;
/** Longer addresses of files are nobody's: ours has about 1,300 characters. */
const MAX_URI_CHARS = 16_384;

const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x[0-9a-fA-F]*$/.test(value);
const Bytes = z.custom<Hex>(isHex);
const Quantity = z
  .string()
  .regex(/^0x[0-9a-fA-F]{1,13}$/)
  .transform(Number);
const RawLog = z.object({ address: z.string(), topics: z.tuple([Bytes], Bytes), data: Bytes, blockNumber: Quantity });

const [NEW_FEEDBACK = '0x'] = encodeEventTopics({ abi: reputationRegistryAbi, eventName: 'NewFeedback' });
/** Indexed texts are topics by their hash; proofs matter for ratings alone. */
const STARRED = keccak256(stringToHex('starred'));

export interface PointerQuery {
  readonly rpc: RpcNode;
  readonly registry: Hex;
  /** Decimal. */
  readonly agentId: string;
  readonly startBlock: number;
  readonly covered: readonly BlockRange[];
}

/** Reads the events of an agent's ratings, newest blocks first, as far as bounds and node allow; never rejects. */
export async function scanPointers(query: PointerQuery, signal: AbortSignal): Promise<PointerScan> {
  const pointers: FeedbackPointer[] = [];
  let { covered } = query;
  const head = await fetchHead(query.rpc, signal);
  if (head === null) return { pointers, covered, isComplete: false };
  // A chain that has not come as far as the registry's first block is a local one, read in full.
  const floor = query.startBlock <= head ? query.startBlock : 0;
  let requests = 0;
  for (const gap of findGaps(covered, { from: floor, to: head })) {
    let span = gap.to - gap.from + 1;
    for (let to = gap.to; to >= gap.from; ) {
      if (requests >= MAX_REQUESTS || signal.aborted) return finish(pointers, covered, false);
      const range = { from: Math.max(gap.from, to - span + 1), to };
      requests += 1;
      const found = await fetchPointers(query, range, signal);
      if (found === null) {
        if (range.from === range.to) return finish(pointers, covered, false);
        span = Math.max(1, Math.min(WINDOW_BLOCKS, (range.to - range.from + 1) >> 1));
        continue;
      }
      pointers.push(...found.toReversed());
      covered = addRange(covered, { from: range.from, to: Math.min(range.to, head - CONFIRMATIONS) });
      to = range.from - 1;
    }
  }
  return finish(pointers, covered, true);
}

function finish(pointers: FeedbackPointer[], covered: readonly BlockRange[], isComplete: boolean): PointerScan {
  return { pointers, covered: covered.slice(0, MAX_RANGES), isComplete };
}

async function fetchHead(rpc: RpcNode, signal: AbortSignal): Promise<number | null> {
  const answer = await rpc.request({ method: 'eth_blockNumber' }, { signal }).catch(nothingOf);
  return Quantity.safeParse(answer).data ?? null;
}

function nothingOf(error: unknown): null {
  if (error instanceof RpcError) return null;
  throw error;
}

/** @returns in the order of the chain; null when the node does not answer for so many blocks */
async function fetchPointers(
  { rpc, registry, agentId }: PointerQuery,
  { from, to }: BlockRange,
  signal: AbortSignal,
): Promise<FeedbackPointer[] | null> {
  const topics = [NEW_FEEDBACK, numberToHex(BigInt(agentId), { size: 32 }), null, STARRED];
  const filter = { address: registry, topics, fromBlock: toQuantity(from), toBlock: toQuantity(to) };
  const answer = await rpc.request({ method: 'eth_getLogs', params: [filter] }, { signal }).catch(nothingOf);
  if (!Array.isArray(answer) || (answer.length > MAX_LOGS && from < to)) return null;
  return answer.slice(0, MAX_LOGS).flatMap((item: unknown) => {
    const log = RawLog.safeParse(item).data;
    const isAsked = log?.address.toLowerCase() === registry.toLowerCase() && log.blockNumber >= from;
    return log && isAsked ? readPointer(log, agentId) : [];
  });
}

function readPointer({ topics, data }: z.infer<typeof RawLog>, agentId: string): FeedbackPointer[] {
  try {
    const { eventName, args } = decodeEventLog({ abi: reputationRegistryAbi, topics, data, strict: true });
    if (eventName !== 'NewFeedback' || args.agentId !== BigInt(agentId)) return [];
    const { clientAddress, feedbackIndex, value, valueDecimals, feedbackURI, feedbackHash } = args;
    if (feedbackURI === '' || feedbackURI.length > MAX_URI_CHARS) return [];
    return [
      {
        client: `0x${clientAddress.slice(2).toLowerCase()}`,
        index: feedbackIndex,
        value,
        decimals: valueDecimals,
        uri: feedbackURI,
        hash: feedbackHash,
      },
    ];
  } catch {
    // A log of another form is no feedback.
    return [];
  }
}
