/**
 * Discovery by the chain alone: 10,000 registrations on a local chain, scanned and filtered, then again by a new process
 * with the kept cursor, beside the limit of the same run: all logs and every tokenURI without any of discovery's work:
 * `npm run bench:discovery:chain`. Exit code 1 when a worker is missing or the second start reads old blocks.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeFunctionData, toHex } from 'viem';
import { identityRegistryAbi } from '../src/base/abi.ts';
import { silentLog } from '../src/base/log.ts';
import { ChainStore } from '../src/discovery/chain-store.ts';
import { Discovery } from '../src/discovery/ladder.ts';
import { canonicalAddresses } from '../src/localnet/contracts.ts';
import { HttpClient } from '../src/net/http.ts';
import { createRpcNode, type RpcNode } from '../src/net/rpc.ts';
import { createCache } from '../src/store/cache.ts';
import { openDatabase } from '../src/store/database.ts';
import { devAccount, placeCanonical, startChain } from '../test/contracts-chain.ts';

const AGENTS = 10_000;
const NEW_AGENTS = 50;
/** One agent of so many is a worker, about the share of 8004scan's agents that claim any skill at all. */
const WORKER_EVERY = 100;
const BATCH = 50;
/** Few blocks of many agents: the node copies its state with every block, which makes long chains slow. */
const AGENTS_PER_BLOCK = 250;
/** More of these blocks are above the size of an answer that discovery reads. */
const WINDOW = 8;
const REGISTERED = '0xca52e62c367d81bb2e328eb795f7c7ba24afb478408a26c0e201d155c449bc4a';
const CHAIN_ID = 84532;
const ACCOUNT = devAccount(0).address;
const to = canonicalAddresses.identity;

const chain = await startChain();
await placeCanonical(chain, 'identity');
await chain.client.setAutomine(false);
await chain.client.setBlockGasLimit({ gasLimit: 1_000_000_000n });
const rpcUrl = chain.client.transport.url ?? '';
const { client } = chain;
const host = createServer((request, response) => {
  response.writeHead(request.url?.startsWith('/api/') ? 403 : 200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ status: 'ok', busy: false }));
});
await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
const address = host.address();
if (address === null || typeof address === 'string') throw new Error('no port');
const origin = `http://127.0.0.1:${address.port}`;
const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));

function buildUri(agent: number): string {
  const isWorker = agent % WORKER_EVERY === 0;
  const document = {
    type: 'https://eips.ethereum.org/EIPS/eip-8004#registration-v1',
    name: `Agent ${agent}`,
    description: 'An agent of the benchmark, with a description as long as those of real agents usually are.',
    services: [
      { name: 'web', endpoint: `${origin}/services/${agent}` },
      { name: 'OASF', version: '0.8', skills: [isWorker ? 'devops_mlops/model_versioning' : 'retail/selling'] },
    ],
    registrations: [{ agentId: agent, agentRegistry: `eip155:${CHAIN_ID}:${to}` }],
  };
  return `data:application/json;base64,${Buffer.from(JSON.stringify(document)).toString('base64')}`;
}

async function register(from: number, count: number): Promise<void> {
  const { batch } = createRpcNode(rpcUrl);
  // The node takes the calls of a batch in any order.
  const firstNonce = await client.getTransactionCount({ address: ACCOUNT });
  for (let at = from; at < from + count; at += AGENTS_PER_BLOCK) {
    const ids = Array.from({ length: Math.min(AGENTS_PER_BLOCK, from + count - at) }, (_, index) => at + index);
    const calls = ids.map((id) => {
      const data = encodeFunctionData({ abi: identityRegistryAbi, functionName: 'register', args: [buildUri(id)] });
      return {
        method: 'eth_sendTransaction',
        params: [{ from: ACCOUNT, to, data, gas: toHex(2_000_000), nonce: toHex(firstNonce + id - from) }],
      };
    });
    const outcomes = await batch(calls);
    const failed = outcomes.find(({ ok }) => !ok);
    if (failed) throw new Error(`an agent could not be registered: ${JSON.stringify(failed)}`);
    await client.mine({ blocks: 1 });
  }
}

/** A node that counts what it is asked. */
function countRequests(node: RpcNode) {
  const counts = { requests: 0, logRequests: 0, lowestBlock: Number.POSITIVE_INFINITY };
  const counting: RpcNode = {
    request: (call, options) => {
      counts.requests += 1;
      if (call.method === 'eth_getLogs') {
        counts.logRequests += 1;
        const { fromBlock } = Object(Object(call.params)[0]);
        counts.lowestBlock = Math.min(counts.lowestBlock, Number(fromBlock));
      }
      return node.request(call, options);
    },
    batch: (calls, options) => {
      counts.requests += 1;
      return node.batch(calls, options);
    },
  };
  return { counts, counting };
}

function say(name: string, ms: number, requests: number, more: string): void {
  process.stdout.write(`${name}: ${(ms / 1000).toFixed(2)} s, ${requests} RPC requests${more}\n`);
}

async function discover(name: string, expected: number) {
  const db = await openDatabase(dataDir);
  const { counts, counting } = countRequests(createRpcNode(rpcUrl));
  const http = new HttpClient({ allowHttpHosts: [`127.0.0.1:${new URL(origin).port}`], userAgent: 'bench' });
  const discovery = new Discovery({
    http,
    scanApiUrl: origin,
    operatorWorkers: [],
    blockedWorkers: [],
    ipfsGateways: [],
    cache: createCache(db),
    chains: { openRpc: async () => counting, store: new ChainStore(db), defaultChainId: CHAIN_ID },
    clock: { nowMs: () => Date.now() },
    log: silentLog,
  });
  const startedMs = performance.now();
  const { totalWorkers, sources, hidden } = await discovery.discover({ limit: 100, refresh: true, deadlineMs: 60_000 });
  const ms = performance.now() - startedMs;
  await discovery.close();
  await http.close();
  await db.destroy();
  const blocks = sources.find(({ source }) => source === 'chain')?.blocks;
  const isRight = totalWorkers === expected;
  if (!isRight) process.exitCode = 1;
  say(
    name,
    ms,
    counts.requests,
    ` (${counts.logRequests} for logs), ${totalWorkers} workers${isRight ? '' : ` INSTEAD OF ${expected}`}, ${hidden.no_matching_skill ?? 0} others, blocks ${blocks?.from} to ${blocks?.to}`,
  );
  return counts;
}

/** What cannot be left out by anybody who trusts no log: every log, then every tokenURI; nothing is read or kept. */
async function measureLimit(): Promise<void> {
  const { counts, counting } = countRequests(createRpcNode(rpcUrl));
  const startedMs = performance.now();
  const head = Number(await counting.request({ method: 'eth_blockNumber' }));
  let logs = 0;
  for (let from = 0; from <= head; from += WINDOW) {
    const filter = {
      address: to,
      topics: [REGISTERED],
      fromBlock: toHex(from),
      toBlock: toHex(Math.min(head, from + WINDOW - 1)),
    };
    logs += Object(await counting.request({ method: 'eth_getLogs', params: [filter] })).length;
  }
  const logsMs = performance.now() - startedMs;
  for (let at = 0; at < AGENTS; at += BATCH) {
    await counting.batch(
      Array.from({ length: BATCH }, (_, index) => {
        const args = [BigInt(at + index)] as const;
        const data = encodeFunctionData({ abi: identityRegistryAbi, functionName: 'tokenURI', args });
        return { method: 'eth_call', params: [{ to, data }, 'latest'] };
      }),
    );
  }
  const ms = performance.now() - startedMs;
  say('limit, raw logs and every tokenURI', ms, counts.requests, ` (${(logsMs / 1000).toFixed(2)} s for ${logs} logs)`);
}

try {
  const startedMs = performance.now();
  await register(0, AGENTS);
  const head = Number(await client.getBlockNumber());
  process.stdout.write(
    `${AGENTS} agents in ${head} blocks, registered in ${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`,
  );
  await measureLimit();
  await discover('first start', AGENTS / WORKER_EVERY);
  await register(AGENTS, NEW_AGENTS);
  const { lowestBlock } = await discover(`second start, ${NEW_AGENTS} new agents`, AGENTS / WORKER_EVERY + 1);
  if (lowestBlock < head - 2) {
    process.stdout.write(`The second start read from block ${lowestBlock}, below ${head - 2}.\n`);
    process.exitCode = 1;
  }
} finally {
  host.close();
  host.closeAllConnections();
  await chain.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
