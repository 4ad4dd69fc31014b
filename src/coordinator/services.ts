import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { findChain, type PaymentChain } from '../base/chains.ts';
import type { Log } from '../base/log.ts';
import { type Clock, systemClock } from '../base/time.ts';
import { PriceBook } from '../campaign/prices.ts';
import { buildRpcUrl, type Config } from '../config.ts';
import { ChainStore } from '../discovery/chain-store.ts';
import { HostGate } from '../discovery/host-gate.ts';
import { Discovery } from '../discovery/ladder.ts';
import { ReputationBook } from '../discovery/reputation-book.ts';
import { ScriptReader } from '../experiment/gate/script-reader.ts';
import { HttpClient } from '../net/http.ts';
import { createRpcNode, type RpcNode } from '../net/rpc.ts';
import type { Caps } from '../payment/budget.ts';
import { ChainReader } from '../payment/chain.ts';
import { PaymentDesk } from '../payment/desk.ts';
import { configureWallet } from '../payment/wallet.ts';
import { createCache } from '../store/cache.ts';
import { type Db, loadMasterSecret, openDatabase } from '../store/database.ts';
import { storeFolder } from '../store/folder.ts';
import { WorkerClient } from '../worker/client.ts';
import { describeSubject } from './reputation-subject.ts';

/** Every part of the house, wired to one data folder. */
export interface Services {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly db: Db;
  readonly folder: string;
  readonly http: HttpClient;
  readonly worker: WorkerClient;
  readonly desk: PaymentDesk;
  readonly discovery: Discovery;
  readonly reputations: ReputationBook;
  readonly prices: PriceBook;
  readonly scripts: ScriptReader;
  readonly openChain: (chain: PaymentChain) => Promise<ChainReader | null>;
  /** A node that has proven to be of that chain; null when there is none. */
  readonly openRpc: (chainId: number) => Promise<RpcNode | null>;
  close(): Promise<void>;
}

/**
 * Opens the store and wires everything. Nothing is asked of the network yet.
 * @throws ConfigurationError when the data folder or the key file cannot be used
 */
export async function openServices(config: Config, version: string, log: Log): Promise<Services> {
  const clock = systemClock;
  const db = await openDatabase(config.dataDir);
  const http = new HttpClient({
    allowHttpHosts: listAllowedHosts(config),
    userAgent: `autoresearch-coordinator/${version}`,
  });
  const caps = readCaps(config);
  const wallet = configureWallet({ ...config, privateKeyFile: config.privateKeyFile });
  const openNode = createNodeOpener(config, log);
  const openChain = async (chain: PaymentChain) => (await openNode(chain))?.reader ?? null;
  const openRpc = async (chainId: number) => {
    const chain = findChain(chainId);
    return (chain && (await openNode(chain))?.rpc) ?? null;
  };
  const masterSecret = await loadMasterSecret(db, () => randomBytes(32).toString('hex'));
  const desk = new PaymentDesk({
    db,
    wallet,
    caps,
    maxValiditySeconds: config.maxValiditySeconds,
    openChain,
    masterSecret,
    clock,
  });
  const worker = new WorkerClient(http);
  const discovery = new Discovery({
    http,
    scanApiUrl: config.scanApiUrl,
    scanApiKey: config.scanApiKey,
    operatorWorkers: config.workers,
    blockedWorkers: config.blockedWorkers,
    ipfsGateways: config.ipfsGateways,
    cache: createCache(db),
    chains: { openRpc, store: new ChainStore(db), defaultChainId: config.defaultChain.chainId },
    clock,
    log,
  });
  const reputations = new ReputationBook({
    http,
    gate: new HostGate(),
    ipfsGateways: config.ipfsGateways,
    openRpc,
    trustedReviewers: config.trustedReviewers,
    describe: (agent) => describeSubject(db, agent),
    cache: createCache(db),
    clock,
    log,
  });
  const scripts = new ScriptReader();
  const close = async () => {
    scripts.close();
    await Promise.all([discovery.close(), reputations.close(), http.close()]);
    await db.destroy();
  };
  return {
    config,
    clock,
    log,
    db,
    folder: storeFolder(config.dataDir),
    http,
    worker,
    desk,
    discovery,
    reputations,
    prices: new PriceBook(worker, desk, clock),
    scripts,
    openChain,
    openRpc,
    close,
  };
}

/** The index is the operator's choice: a plain-http one inside a cluster or on this machine needs no second permission. */
function listAllowedHosts(config: Config): string[] {
  const index = new URL(config.scanApiUrl);
  return index.protocol === 'http:' ? [...config.allowHttpHosts, index.host] : [...config.allowHttpHosts];
}

/** The limits that an operator has set. */
export function readCaps(config: Config): Caps {
  return {
    perExperimentAtomic: config.maxPriceAtomic,
    rollingDayAtomic: config.budgetAtomic,
    ...(config.budgetTotalAtomic === undefined ? {} : { lifetimeAtomic: config.budgetTotalAtomic }),
  };
}

/** The JSON-RPC of the Obol stack, used where its name resolves and nothing else is configured. */
const STACK_RPC = 'http://erpc.erpc.svc.cluster.local:4000/rpc';
/** A node that was wrong or silent is asked again after this time, in milliseconds. */
const RETRY_CHAIN_MS = 10_000;

/** A chain's node: as payments read it, and as it is. */
interface ChainNode {
  readonly reader: ChainReader;
  readonly rpc: RpcNode;
}

/** Opens each chain once, after its node has said that it is that chain. */
function createNodeOpener(config: Config, log: Log): (chain: PaymentChain) => Promise<ChainNode | null> {
  const opened = new Map<number, { node: Promise<ChainNode | null>; atMs: number }>();
  const open = async (chain: PaymentChain): Promise<ChainNode | null> => {
    const url = await findRpcUrl(config, chain);
    if (url === null) return null;
    const reader = new ChainReader(chain, url);
    const chainId = await reader.fetchChainId().catch(() => null);
    if (chainId === chain.chainId) return { reader, rpc: createRpcNode(url) };
    log.warn({ chain: chain.name, answered: chainId }, 'the JSON-RPC node of this chain cannot be used');
    return null;
  };
  return async (chain) => {
    const known = opened.get(chain.chainId);
    if (known) {
      const node = await known.node;
      if (node || Date.now() - known.atMs < RETRY_CHAIN_MS) return node;
    }
    const node = open(chain);
    opened.set(chain.chainId, { node, atMs: Date.now() });
    return node;
  };
}

async function findRpcUrl(config: Config, chain: PaymentChain): Promise<string | null> {
  if (config.rpcUrl) return buildRpcUrl(config.rpcUrl, chain);
  const isInStack = await lookup(new URL(STACK_RPC).hostname).then(
    () => true,
    () => false,
  );
  return isInStack ? buildRpcUrl(STACK_RPC, chain) : (chain.publicRpcUrl ?? null);
}
