import { createServer } from 'node:http';
import { encodeAbiParameters, encodeEventTopics, type Hex, pad } from 'viem';
import { describe, expect, it, onTestFinished } from 'vitest';
import * as z from 'zod';
import { buildIntent, experimentIdOf } from '../../test/store-rows.ts';
import { usdcAbi } from '../base/abi.ts';
import { ChainReader } from './chain.ts';

const intent = buildIntent(experimentIdOf(0), 1);
const usdc = intent.chain.asset.address;
const TX: Hex = `0x${'ab'.repeat(32)}`;
const OTHER_TX: Hex = `0x${'cd'.repeat(32)}`;
const Call = z.object({ id: z.number(), method: z.string(), params: z.array(z.unknown()) });
const hex = (value: number | bigint): Hex => `0x${value.toString(16)}`;

interface Node {
  timeUnix: number;
  /** Time of the block two before the newest. */
  confirmedUnix: number;
  isUsed: boolean;
  logs: readonly object[];
  receipts: Record<string, { status?: Hex; logs: readonly object[] }>;
  /** Widest range of blocks that it answers for. */
  maxRange: number;
  /** Blocks that it knows of; one that lags knows fewer than the one that answered before. */
  knows: (block: string) => boolean;
}

/** A chain's node that answers as it is told to. */
async function startNode(change: Partial<Node>) {
  const node: Node = {
    timeUnix: intent.validBefore - 10,
    confirmedUnix: change.timeUnix ?? 0,
    isUsed: false,
    logs: [],
    receipts: {},
    maxRange: 100_000,
    knows: () => true,
    ...change,
  };
  const ranges: number[] = [];
  const answer = (method: string, params: readonly unknown[]): unknown => {
    switch (method) {
      case 'eth_chainId':
        return hex(intent.chain.chainId);
      case 'eth_blockNumber':
        return hex(5_000);
      case 'eth_getBlockByNumber':
        return params[0] === hex(4_998)
          ? { number: hex(4_998), timestamp: hex(node.confirmedUnix), transactions: [] }
          : { number: hex(5_000), timestamp: hex(node.timeUnix), transactions: [] };
      case 'eth_call':
        return node.knows(z.string().parse(params[1])) ? pad(hex(node.isUsed ? 1 : 0)) : undefined;
      case 'eth_getTransactionReceipt': {
        const receipt = node.receipts[z.string().parse(params[0])];
        return receipt ? { status: '0x1', blockNumber: hex(4_000), transactionHash: params[0], ...receipt } : null;
      }
      case 'eth_getLogs': {
        const filter = z
          .looseObject({ fromBlock: z.string(), toBlock: z.string(), topics: z.array(z.unknown()) })
          .parse(params[0]);
        const [from, to] = [Number(filter.fromBlock), Number(filter.toBlock)];
        ranges.push(to - from + 1);
        if (to - from + 1 > node.maxRange) return undefined;
        const topic = JSON.stringify(filter.topics[0]);
        return node.logs.filter((log) => {
          const { blockNumber, topics } = z
            .looseObject({ blockNumber: z.string(), topics: z.array(z.string()) })
            .parse(log);
          return Number(blockNumber) >= from && Number(blockNumber) <= to && topic.includes(topics[0] ?? '-');
        });
      }
      default:
        return undefined;
    }
  };
  const server = createServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(z.instanceof(Uint8Array).parse(chunk));
    const { id, method, params } = Call.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
    const result = answer(method, params);
    const body = result === undefined ? { error: { code: -32_000, message: 'header not found' } } : { result };
    response.end(JSON.stringify({ jsonrpc: '2.0', id, ...body }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = z.object({ port: z.number() }).parse(server.address());
  return { reader: new ChainReader(intent.chain, `http://127.0.0.1:${port}`), ranges };
}

const place = {
  address: usdc,
  blockNumber: hex(4_000),
  transactionHash: TX,
  transactionIndex: '0x0',
  blockHash: TX,
  removed: false,
};
const used = {
  ...place,
  logIndex: '0x0',
  data: '0x',
  topics: encodeEventTopics({
    abi: usdcAbi,
    eventName: 'AuthorizationUsed',
    args: { authorizer: intent.payer, nonce: intent.nonce },
  }),
};
const cancelled = {
  ...used,
  topics: encodeEventTopics({
    abi: usdcAbi,
    eventName: 'AuthorizationCanceled',
    args: { authorizer: intent.payer, nonce: intent.nonce },
  }),
};
const transfer = (to: Hex = intent.payTo, value: bigint = intent.valueAtomic) => ({
  ...place,
  logIndex: '0x1',
  data: encodeAbiParameters([{ type: 'uint256' }], [value]),
  topics: encodeEventTopics({ abi: usdcAbi, eventName: 'Transfer', args: { from: intent.payer, to } }),
});

describe('the fate of an authorization', () => {
  it('is live until the chain itself is past its window, and expired after', async () => {
    for (const [timeUnix, kind] of [
      [intent.validBefore - 1, 'live'],
      [intent.validBefore, 'live'],
      [intent.validBefore + 1, 'expired'],
    ] as const) {
      const { reader } = await startNode({ timeUnix });
      expect(await reader.fetchState(intent, 0n, null)).toEqual({ kind });
    }
  });

  it('is not proven expired by a block that a reorganisation could still take back', async () => {
    const timeUnix = intent.validBefore + 1;
    const { reader } = await startNode({ timeUnix, confirmedUnix: intent.validBefore });
    expect(await reader.fetchState(intent, 0n, null)).toEqual({ kind: 'live' });
  });

  it('is not proven by a node that lags behind the one that told the time', async () => {
    // At its own latest block the nonce is unused; the block of the time it does not know yet.
    const { reader } = await startNode({ timeUnix: intent.validBefore + 1, knows: (block) => block === 'latest' });
    await expect(reader.fetchState(intent, 0n, null)).rejects.toThrow();
  });

  it('is settled where both events are seen, found by the receipt of the worker', async () => {
    const { reader, ranges } = await startNode({ isUsed: true, receipts: { [TX]: { logs: [used, transfer()] } } });
    expect(await reader.fetchState(intent, 0n, TX)).toEqual({ kind: 'settled', tx: TX, block: 4_000n });
    expect(ranges).toEqual([]);
  });

  it('is found in the logs when the worker names no transaction, or another one', async () => {
    const receipts = { [TX]: { logs: [used, transfer()] }, [OTHER_TX]: { logs: [] } };
    for (const hint of [null, OTHER_TX, `0x${'00'.repeat(32)}`, 'nonsense']) {
      const { reader } = await startNode({ isUsed: true, logs: [used], receipts });
      expect(await reader.fetchState(intent, 3_000n, hint)).toMatchObject({ kind: 'settled', tx: TX });
    }
  });

  it('is found in small steps where the node refuses large ones', async () => {
    const { reader, ranges } = await startNode({
      isUsed: true,
      logs: [used],
      receipts: { [TX]: { logs: [used, transfer()] } },
      maxRange: 500,
    });
    expect(await reader.fetchState(intent, 3_000n, null)).toMatchObject({ kind: 'settled' });
    expect(Math.min(...ranges)).toBeLessThanOrEqual(500);
  });

  it('is cancelled where the chain says so', async () => {
    const { reader } = await startNode({ isUsed: true, logs: [cancelled], receipts: { [TX]: { logs: [cancelled] } } });
    expect(await reader.fetchState(intent, 0n, null)).toEqual({ kind: 'cancelled', tx: TX });
  });

  it.each([
    ['to somebody else', [used, transfer('0x90F79bf6EB2c4f870365E785982E1f101E93b906')]],
    ['of another amount', [used, transfer(intent.payTo, 1n)]],
    ['of another token', [{ ...used, address: intent.payTo }, transfer()]],
    ['of another nonce', [{ ...used, topics: [...used.topics.slice(0, 2), TX] }, transfer()]],
    ['that is none', [used]],
  ])('is not settled by a transfer %s', async (_name, logs) => {
    const { reader } = await startNode({ isUsed: true, logs: [used], receipts: { [TX]: { logs } } });
    expect(await reader.fetchState(intent, 0n, TX)).toEqual({ kind: 'used' });
  });

  it('is not settled by a transaction that failed', async () => {
    const receipts = { [TX]: { status: '0x0' as const, logs: [used, transfer()] } };
    const { reader } = await startNode({ isUsed: true, receipts });
    expect(await reader.fetchState(intent, 0n, TX)).toEqual({ kind: 'used' });
  });
});
