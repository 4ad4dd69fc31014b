import { type Hex, isAddressEqual } from 'viem';
import { decodeEventLog } from 'viem/utils';
import * as z from 'zod';
import { usdcAbi } from '../base/abi.ts';
import { RpcError, type RpcRequest } from './rpc.ts';

/** One movement of a token that a transaction made, as the token's own log has it. */
export interface TokenTransfer {
  readonly from: Hex;
  readonly to: Hex;
  /** Atomic. */
  readonly value: bigint;
}

const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x[0-9a-fA-F]*$/.test(value);
const Bytes = z.custom<Hex>(isHex);
const Receipt = z.looseObject({
  transactionHash: Bytes,
  status: z.literal('0x1'),
  logs: z.array(z.unknown()).max(10_000),
});
const Log = z.looseObject({
  address: z
    .string()
    .regex(/^0x[0-9a-fA-F]{40}$/)
    .pipe(Bytes),
  topics: z.tuple([Bytes], Bytes),
  data: Bytes,
});

/** True for the hash of a transaction in hex. */
export function isTransactionHash(text: string): text is Hex {
  return /^0x[0-9a-fA-F]{64}$/.test(text);
}

/**
 * Reads what a transaction moved of one token. Events of other contracts are nobody's money, whatever they are called.
 * @returns `absent` while the node knows no such mined transaction, `failed` when it moved nothing
 * @throws RpcError when the node does not say
 */
export async function fetchTransfers(
  request: RpcRequest,
  asset: Hex,
  tx: Hex,
  signal?: AbortSignal,
): Promise<readonly TokenTransfer[] | 'absent' | 'failed'> {
  const call = { method: 'eth_getTransactionReceipt', params: [tx] };
  const answer = await request(call, { signal });
  if (answer === null || answer === undefined) return 'absent';
  const receipt = Receipt.safeParse(answer).data;
  if (!receipt) return 'failed';
  if (receipt.transactionHash.toLowerCase() !== tx.toLowerCase()) throw new RpcError('rpc_unreachable', call.method);
  return receipt.logs.flatMap((item) => {
    const log = Log.safeParse(item).data;
    return log && isAddressEqual(log.address, asset) ? readTransfer(log) : [];
  });
}

function readTransfer({ topics, data }: z.infer<typeof Log>): TokenTransfer[] {
  try {
    const { eventName, args } = decodeEventLog({ abi: usdcAbi, topics, data, strict: true });
    return eventName === 'Transfer' ? [args] : [];
  } catch {
    // The token's other events are of no interest here.
    return [];
  }
}
