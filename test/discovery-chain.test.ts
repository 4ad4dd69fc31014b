import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address } from 'viem';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { identityRegistryAbi } from '../src/base/abi.ts';
import { silentLog } from '../src/base/log.ts';
import { ChainStore } from '../src/discovery/chain-store.ts';
import { type DiscoverRequest, Discovery, type DiscoveryDeps } from '../src/discovery/ladder.ts';
import { canonicalAddresses } from '../src/localnet/contracts.ts';
import { HttpClient } from '../src/net/http.ts';
import { createRpcNode } from '../src/net/rpc.ts';
import { createCache } from '../src/store/cache.ts';
import { openDatabase } from '../src/store/database.ts';
import { type Interference, limitBlocks, startNode } from './chain-node.ts';
import { devAccount, placeCanonical, startChain, type TestChain } from './contracts-chain.ts';

const SKILL = 'devops_mlops/model_versioning';
const CHAIN_ID = 84532;
const REGISTRY = canonicalAddresses.identity.toLowerCase();
const OWNER = devAccount(0).address;
const BUYER = devAccount(1).address;
const URI_UPDATED = '0x3a2c7fffc2cba7582c690e3b82c453ea02a308326a98a3ad7576c606336409fb';

let chain: TestChain;
let pristine: `0x${string}`;
const cleanups: (() => unknown)[] = [];
const failures: unknown[] = [];

beforeAll(async () => {
  chain = await startChain();
  await placeCanonical(chain, 'identity');
  pristine = await chain.client.snapshot();
});
afterAll(() => chain.stop());
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await chain.client.revert({ id: pristine });
  pristine = await chain.client.snapshot();
  expect(failures.splice(0)).toEqual([]);
});

async function serve(handle: (path: string) => { status?: number; body: unknown } | undefined): Promise<string> {
  const server: Server = createServer((request, response) => {
    const answer = handle(request.url ?? '/');
    if (answer === undefined) return;
    response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

const describeWorker = (endpoint: string, agentId: number, more: Record<string, unknown> = {}) => ({
  name: 'A worker',
  description: 'A worker for autoresearch experiments',
  services: [
    { name: 'web', endpoint },
    { name: 'OASF', version: '0.8', skills: [SKILL] },
  ],
  x402Support: true,
  active: true,
  registrations: [{ agentId, agentRegistry: `eip155:${CHAIN_ID}:${REGISTRY}` }],
  ...more,
});
const inline = (document: unknown) =>
  `data:application/json;base64,${Buffer.from(JSON.stringify(document)).toString('base64')}`;
const SHOP = inline({ name: 'A shop', services: [{ name: 'OASF', skills: ['retail/selling'], endpoint: 'x' }] });

/** A worker that is up; its registration stands at `uri`. */
async function startWorker(agentId: number) {
  let url = '';
  url = await serve((path) => {
    if (path === '/health') return { body: { status: 'ok', busy: false } };
    if (path === '/.well-known/agent-registration.json') return { body: describeWorker(url, agentId) };
    return { status: 404, body: {} };
  });
  return { url, uri: `${url}/.well-known/agent-registration.json` };
}

const registry = { address: canonicalAddresses.identity, abi: identityRegistryAbi } as const;
const register = (uri: string, account: Address = OWNER) =>
  chain.succeed(chain.client.writeContract({ ...registry, functionName: 'register', args: [uri], account }));
const moveTo = (agentId: bigint, uri: string) =>
  chain.succeed(
    chain.client.writeContract({ ...registry, functionName: 'setAgentURI', args: [agentId, uri], account: OWNER }),
  );
const sell = (agentId: bigint) =>
  chain.succeed(
    chain.client.writeContract({
      ...registry,
      functionName: 'transferFrom',
      args: [OWNER, BUYER, agentId],
      account: OWNER,
    }),
  );

const startDeadIndex = () => serve(() => ({ status: 403, body: {} }));

interface Setup {
  readonly index?: string;
  readonly interfere?: Interference;
  readonly hosts?: readonly string[];
  readonly dataDir?: string;
  readonly deps?: Partial<DiscoveryDeps>;
}

function createFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'autoresearch-chain-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Discovery with a real store, whose index is down and whose node stands before the local chain. */
async function open({ index, interfere, hosts = [], dataDir = createFolder(), deps = {} }: Setup = {}) {
  const scanApiUrl = index ?? (await startDeadIndex());
  const node = await startNode(chain.client.transport.url ?? '', interfere);
  const db = await openDatabase(dataDir);
  const http = new HttpClient({
    allowHttpHosts: [scanApiUrl, ...hosts].map((url) => new URL(url).host),
    userAgent: 'autoresearch-coordinator/test',
  });
  const rpc = createRpcNode(node.url);
  const discovery = new Discovery({
    http,
    scanApiUrl,
    operatorWorkers: [],
    blockedWorkers: [],
    ipfsGateways: ['http://gateway.invalid'],
    cache: createCache(db),
    chains: { openRpc: async () => rpc, store: new ChainStore(db), defaultChainId: CHAIN_ID },
    clock: { nowMs: () => Date.now() },
    // An error of our own must not hide behind a reason.
    log: { ...silentLog, error: (fields) => failures.push(fields) },
    ...deps,
  });
  const close = async () => {
    await discovery.close();
    await Promise.all([http.close(), node.close()]);
    await db.destroy();
  };
  cleanups.push(close);
  return {
    node,
    close,
    discover: (request: Partial<DiscoverRequest> = {}) =>
      discovery.discover({ limit: 20, deadlineMs: 5_000, ...request }),
  };
}

const workerId = (agentId: number) => `${CHAIN_ID}:${REGISTRY}:${agentId}`;
const sourceOf = (sources: readonly { source: string }[], name: string) =>
  sources.find(({ source }) => source === name);

describe('the registry of the chain as a source', () => {
  it('finds workers when the index is down: id 0, files elsewhere and files in the log', async () => {
    const [first, second] = [await startWorker(0), await startWorker(1)];
    await register(first.uri);
    await register(inline(describeWorker(second.url, 1)), BUYER);
    await register('');
    await register(SHOP);
    const { discover, node } = await open({ hosts: [first.url, second.url] });
    const { workers, sources, hidden } = await discover();
    expect(workers.map(({ workerId: id, identity, source, owner }) => ({ id, identity, source, owner }))).toEqual([
      { id: workerId(0), identity: 'verified', source: 'chain', owner: OWNER },
      { id: workerId(1), identity: 'verified', source: 'chain', owner: BUYER },
    ]);
    expect(workers[0]).toMatchObject({ workerEndpoint: first.url, agentWallet: OWNER, health: { status: 'ok' } });
    expect(sourceOf(sources, '8004scan')).toMatchObject({ ok: false, error: 'forbidden' });
    const head = Number(await chain.client.getBlockNumber());
    expect(sourceOf(sources, 'chain')).toMatchObject({ ok: true, count: 4, blocks: { from: 0, to: head } });
    expect(hidden).toEqual({ no_uri: 1, no_matching_skill: 1 });
    // Who does not claim the skill in the log itself costs no request: no more than two tokens were asked for.
    expect(node.countOf('eth_call')).toBeLessThanOrEqual(1 + 2 * 3);
  });

  it('goes by the newest URI, the present owner and the wallet that the registry names now', async () => {
    const worker = await startWorker(1);
    await register(SHOP);
    await register(SHOP);
    await moveTo(1n, worker.uri);
    await register(inline(describeWorker(worker.url, 2)));
    await moveTo(2n, SHOP);
    await sell(1n);
    const { workers } = await (await open({ hosts: [worker.url] })).discover();
    expect(workers).toEqual([
      expect.objectContaining({ workerId: workerId(1), owner: BUYER, agentWallet: null, identity: 'verified' }),
    ]);
  });

  it('counts who has left: registrations that say so themselves', async () => {
    await register(inline(describeWorker('https://asleep.example', 0, { active: false })));
    const { discover } = await open();
    const { workers, hidden } = await discover();
    expect(workers).toEqual([]);
    expect(hidden).toEqual({ inactive: 1 });
    const all = await discover({ includeUnreachable: true });
    expect(all.workers).toEqual([expect.objectContaining({ workerId: workerId(0), hiddenReason: 'inactive' })]);
  });

  it('reads only what is new when it starts again, and asks no file twice', async () => {
    const dataDir = createFolder();
    const worker = await startWorker(0);
    await register(worker.uri);
    for (let shop = 0; shop < 3; shop += 1) await register(SHOP);
    const first = await open({ dataDir, hosts: [worker.url] });
    expect((await first.discover()).workers).toHaveLength(1);
    await first.close();
    const seenTo = Number(await chain.client.getBlockNumber());
    await register(SHOP);
    const late = await startWorker(5);
    await register(late.uri);
    const second = await open({ dataDir, hosts: [worker.url, late.url] });
    const { workers, sources } = await second.discover({ refresh: true });
    expect(workers.map(({ agentId }) => agentId)).toEqual(['0', '5']);
    // Two blocks may still change and are read again.
    expect(second.node.ranges()).toEqual([{ from: seenTo - 1, to: seenTo + 2 }]);
    expect(sourceOf(sources, 'chain')).toMatchObject({ ok: true, count: 4, blocks: { from: 0, to: seenTo + 2 } });
    second.node.forget();
    await second.discover({ refresh: true });
    expect(second.node.ranges()).toEqual([{ from: seenTo + 1, to: seenTo + 2 }]);
  });

  it('forgets what it read of another chain of the same id, and reads anew what a reorganisation took back', async () => {
    const dataDir = createFolder();
    await chain.client.mine({ blocks: 10 });
    const before = await chain.client.snapshot();
    const worker = await startWorker(0);
    await register(SHOP);
    await chain.client.mine({ blocks: 5 });
    const first = await open({ dataDir });
    expect((await first.discover()).workers).toEqual([]);
    await first.close();
    await chain.client.revert({ id: before });
    await register(worker.uri);
    const second = await open({ dataDir, hosts: [worker.url] });
    expect((await second.discover({ refresh: true })).workers).toMatchObject([{ workerId: workerId(0) }]);
    await second.close();
    const isGenesis: Interference = ({ method, params }) =>
      method === 'eth_getBlockByNumber' && params[0] === '0x0'
        ? { result: { hash: `0x${'7'.repeat(64)}` } }
        : undefined;
    const third = await open({ dataDir, hosts: [worker.url], interfere: isGenesis });
    await third.discover({ refresh: true });
    expect(third.node.ranges().at(-1)?.from).toBe(0);
  });

  it('copes with a node that allows ten blocks per request, and begins there the next time', async () => {
    const dataDir = createFolder();
    const worker = await startWorker(0);
    await register(worker.uri);
    await chain.client.mine({ blocks: 60 });
    const first = await open({ dataDir, hosts: [worker.url], interfere: limitBlocks(10) });
    const { workers, sources } = await first.discover();
    expect(workers).toHaveLength(1);
    const head = Number(await chain.client.getBlockNumber());
    expect(sourceOf(sources, 'chain')).toMatchObject({ ok: true, error: null, blocks: { from: 0, to: head } });
    await first.close();
    await chain.client.mine({ blocks: 20 });
    const second = await open({ dataDir, hosts: [worker.url], interfere: limitBlocks(10) });
    await second.discover({ refresh: true });
    expect(second.node.ranges().filter(({ from, to }) => to - from >= 10).length).toBeLessThanOrEqual(1);
  });

  it('reads on where the time of the call before was over, first the new blocks and then the older', async () => {
    const worker = await startWorker(0);
    await register(worker.uri);
    await chain.client.mine({ blocks: 100 });
    const limit = limitBlocks(8);
    let answers = 3;
    const tiring: Interference = (message, size) => {
      if (message.method !== 'eth_getLogs') return undefined;
      const refusal = limit(message, size);
      if (refusal !== undefined) return refusal;
      answers -= 1;
      return answers < 0 ? 'hang' : undefined;
    };
    const { discover, node } = await open({ hosts: [worker.url], interfere: tiring });
    const head = Number(await chain.client.getBlockNumber());
    const first = await discover({ deadlineMs: 4_000 });
    const [lowest = 0] = node
      .ranges()
      .filter(({ from, to }) => to - from < 8)
      .slice(0, 3)
      .map(({ from }) => from)
      .toSorted((one, other) => one - other);
    expect(first.workers).toEqual([]);
    expect(sourceOf(first.sources, 'chain')).toMatchObject({
      ok: true,
      error: null,
      blocks: { from: lowest, to: head },
    });
    node.forget();
    node.interfere(limit);
    await chain.client.mine({ blocks: 3 });
    const second = await discover({ deadlineMs: 20_000 });
    expect(second.workers).toMatchObject([{ workerId: workerId(0) }]);
    expect(sourceOf(second.sources, 'chain')).toMatchObject({ blocks: { from: 0, to: head + 3 } });
    const [newest, ...older] = node.ranges().filter(({ from, to }) => to - from < 8);
    // Two blocks of the first call might still have changed; what else was read stays read.
    expect(newest).toEqual({ from: head - 1, to: head + 3 });
    expect(older.filter(({ to }) => to >= lowest)).toEqual([]);
  });

  it('answers in time when the node hangs, and loses nothing of the index by it', async () => {
    const hang: Interference = ({ method }) => (method === 'eth_getLogs' || method === 'eth_call' ? 'hang' : undefined);
    const alone = await open({ interfere: hang });
    const { sources } = await alone.discover({ deadlineMs: 400 });
    expect(sourceOf(sources, 'chain')).toMatchObject({ ok: false, error: 'pending' });
    const worker = await startWorker(3);
    const row = { agent_id: workerId(3), raw_metadata: { offchain_uri: worker.uri } };
    const index = await serve(() => ({ body: { success: true, data: [row] } }));
    const both = await open({ index, hosts: [worker.url], interfere: hang });
    const answer = await both.discover();
    expect(answer.workers).toMatchObject([{ workerId: workerId(3), source: '8004scan' }]);
    expect(sourceOf(answer.sources, 'chain')).toBeUndefined();
  });

  it('reads the logs of an honest worker among garbage', async () => {
    const worker = await startWorker(0);
    await register(worker.uri);
    const Logs = z.array(z.looseObject({}));
    const honestNode = createRpcNode(chain.client.transport.url ?? '').request;
    const filter = { address: canonicalAddresses.identity, fromBlock: '0x0' };
    const [real] = Logs.parse(await honestNode({ method: 'eth_getLogs', params: [filter] }));
    const bad = { ...real, topics: [URI_UPDATED, `0x${'0'.repeat(64)}`, `0x${'0'.repeat(64)}`] };
    const garbage: Interference = async ({ method, params, id }) => {
      if (method !== 'eth_getLogs') return undefined;
      const honest = Logs.parse(await honestNode({ method, params }));
      const lies = [
        7,
        null,
        {},
        { ...bad, data: '0x1234' },
        { ...bad, data: `0x${'f'.repeat(64)}` },
        { ...bad, data: 'zzz' },
        { ...bad, topics: [] },
        { ...bad, topics: [URI_UPDATED] },
        { ...real, address: OWNER, topics: [`0x${'a'.repeat(64)}`] },
        { ...real, blockNumber: '0xffffffffffffffffffff' },
        { ...real, blockNumber: '0xfffff' },
        { ...real, removed: true },
      ];
      return { id, result: [...lies, ...honest, ...lies] };
    };
    const { discover } = await open({ hosts: [worker.url], interfere: garbage });
    const { workers, sources, hidden } = await discover();
    expect(workers).toMatchObject([{ workerId: workerId(0) }]);
    expect(sourceOf(sources, 'chain')).toMatchObject({ ok: true, count: 1 });
    expect(hidden).toEqual({});
  });

  it('passes over a block that the node cannot give', async () => {
    const worker = await startWorker(0);
    await register(worker.uri);
    const spam = await register(SHOP);
    await register(SHOP);
    const broken: Interference = ({ method, params }) => {
      const { fromBlock, toBlock } = Object(params[0]);
      const isHit = Number(fromBlock) <= Number(spam.blockNumber) && Number(spam.blockNumber) <= Number(toBlock);
      return method === 'eth_getLogs' && isHit ? { error: { code: -32000, message: 'too large' } } : undefined;
    };
    const { workers } = await (await open({ hosts: [worker.url], interfere: broken })).discover();
    expect(workers).toMatchObject([{ workerId: workerId(0) }]);
  });

  it('gets along with nodes that take few calls per batch, or none', async () => {
    const worker = await startWorker(11);
    for (let agent = 0; agent < 12; agent += 1) await register(inline(describeWorker(worker.url, agent)));
    for (const max of [7, 1]) {
      const refuse: Interference = (_message, size) =>
        size > max ? { error: { code: -32600, message: 'batch too large' } } : undefined;
      const { discover } = await open({ hosts: [worker.url], interfere: refuse });
      const { workers } = await discover();
      expect(workers.flatMap(({ identities }) => identities)).toHaveLength(12);
    }
  });

  it('says why it cannot ask: no node, no registry, a chain without one', async () => {
    const noNode = await open({
      deps: {
        chains: {
          openRpc: async () => null,
          store: new ChainStore(await openDatabase(createFolder())),
          defaultChainId: CHAIN_ID,
        },
      },
    });
    expect(sourceOf((await noNode.discover()).sources, 'chain')).toMatchObject({ ok: false, error: 'no_rpc' });
    const { discover } = await open();
    expect(sourceOf((await discover({ chain: '8453' })).sources, 'chain')).toMatchObject({ error: 'no_registry' });
    expect(sourceOf((await discover({ chain: '31337' })).sources, 'chain')).toMatchObject({
      error: 'unknown_registry',
    });
  });
});

describe('the registry of the chain beside the index', () => {
  const listing = (rows: readonly unknown[]) => (path: string) =>
    path.startsWith('/api/v1/public/agents?') ? { body: { success: true, data: rows } } : { status: 404, body: {} };

  it('looks up what the index lists without details, and knows what does not exist', async () => {
    const worker = await startWorker(0);
    await register(worker.uri);
    const index = await serve(listing([{ agent_id: workerId(0) }, { agent_id: workerId(1) }]));
    const { discover, node } = await open({ index, hosts: [worker.url] });
    const { workers, sources, hidden } = await discover();
    expect(workers).toMatchObject([{ workerId: workerId(0), identity: 'verified', source: 'chain' }]);
    expect(hidden).toEqual({ not_registered: 1 });
    expect(sourceOf(sources, 'chain-known')).toMatchObject({ ok: true, count: 1 });
    expect(node.countOf('eth_getLogs')).toBeGreaterThan(0);
  });

  it('confirms owner and wallet of what the index gave, and hides tokens that nobody minted', async () => {
    const [worker, ghost] = [await startWorker(0), await startWorker(9)];
    await register(worker.uri, BUYER);
    const row = (id: number, uri: string) => ({
      agent_id: workerId(id),
      owner_address: OWNER,
      agent_wallet: OWNER,
      raw_metadata: { offchain_uri: uri },
    });
    const index = await serve(listing([row(0, worker.uri), row(9, ghost.uri)]));
    const { discover } = await open({ index, hosts: [worker.url, ghost.url] });
    await expect
      .poll(async () => {
        const { workers, hidden } = await discover();
        return { owners: workers.map(({ owner, agentWallet }) => [owner, agentWallet]), hidden };
      })
      .toEqual({ owners: [[BUYER, BUYER]], hidden: { not_registered: 1 } });
  });

  it('looks up the agents of an older list when the index is away and the node gives no logs', async () => {
    const worker = await startWorker(0);
    await register(worker.uri);
    let isDown = false;
    const rows = listing([{ agent_id: workerId(0), raw_metadata: { offchain_uri: worker.uri } }]);
    const index = await serve((path) => (isDown ? { status: 403, body: {} } : rows(path)));
    let aheadMs = 0;
    const { discover, node } = await open({
      index,
      hosts: [worker.url],
      deps: { clock: { nowMs: () => Date.now() + aheadMs } },
    });
    await discover();
    isDown = true;
    aheadMs = 2 * 24 * 3_600_000;
    node.interfere(({ method }) => (method === 'eth_getLogs' ? { error: { code: -32601, message: 'no' } } : undefined));
    const { workers, sources } = await discover();
    expect(workers).toMatchObject([{ workerId: workerId(0), source: 'chain', ageSeconds: 0 }]);
    expect(sourceOf(sources, 'chain-known')).toMatchObject({ ok: true, count: 1 });
    expect(sourceOf(sources, 'chain')).toMatchObject({ ok: false, error: 'rpc_refused' });
    expect(sourceOf(sources, 'cache')).toMatchObject({ note: 'stale' });
  });

  it('serves a stale list at once while neither index nor node ever answer', async () => {
    const worker = await startWorker(0);
    await register(worker.uri);
    let isHanging = false;
    const rows = listing([{ agent_id: workerId(0), raw_metadata: { offchain_uri: worker.uri } }]);
    const asked: string[] = [];
    const index = await serve((path) => {
      asked.push(path);
      return isHanging ? undefined : rows(path);
    });
    let aheadMs = 0;
    const { discover, node } = await open({
      index,
      hosts: [worker.url],
      deps: { clock: { nowMs: () => Date.now() + aheadMs } },
    });
    await discover();
    isHanging = true;
    node.interfere(() => 'hang');
    aheadMs = 3_600_000;
    const before = asked.length;
    const { workers, sources } = await discover({ deadlineMs: 600_000 });
    expect(workers).toMatchObject([{ workerId: workerId(0) }]);
    expect(sources).toMatchObject([{ source: 'cache', note: 'stale', ageSeconds: 3_600 }]);
    await expect.poll(() => asked.length).toBeGreaterThan(before);
  });

  it('asks the internal family for each path of the skill when its lists name nobody', async () => {
    const worker = await startWorker(0);
    const paths: string[] = [];
    const index = await serve((path) => {
      paths.push(path);
      const { searchParams } = new URL(path, 'http://x');
      if (searchParams.get('oasf_skill') === 'machine_learning/model_optimization') return { status: 400, body: {} };
      const isHit = searchParams.get('oasf_skill') === SKILL;
      const items = isHit ? [{ agent_id: workerId(0), raw_metadata: { offchain_uri: worker.uri } }] : [];
      return { body: { items, total: items.length, limit: 20, offset: 0 } };
    });
    const { discover } = await open({ index: `${index}/api/v1`, hosts: [worker.url], deps: { chains: undefined } });
    const { workers, sources } = await discover({ chain: 'base-sepolia' });
    expect(workers).toMatchObject([{ workerId: workerId(0), source: '8004scan-internal' }]);
    expect(sources.map(({ note, ok, error }) => [note, ok, error])).toEqual([
      [undefined, true, null],
      ['search_dropped', true, null],
      ['by_skill', true, null],
      ['by_skill', true, null],
      ['by_skill', false, 'bad_request'],
    ]);
    expect(paths).toContain(
      `/api/v1/agents?has_oasf=true&oasf_skill=${encodeURIComponent(SKILL)}&chain_id=84532&limit=20`,
    );
  });
});
