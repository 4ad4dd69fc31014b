import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Hex } from 'viem';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { LOCAL_CHAIN_ID } from './anvil.ts';
import { type LocalChain, startChain } from './chain.ts';
import { canonicalAddresses } from './contracts.ts';
import { LocalnetPartError } from './errors.ts';
import { startFacilitator } from './facilitator.ts';
import { type Guardian, startGuardian } from './guardian.ts';
import { INDEX_BASE_PATH, startIndex } from './index-server.ts';
import type { HttpPart } from './listen.ts';
import { type ListeningWorker, type LocalWorker, startWorker, type WorkerOptions } from './local-worker.ts';
import { findPython } from './python.ts';
import { registerOnChain } from './registration.ts';

export interface LocalnetOptions {
  /** How many workers, or one entry for each; default 3. */
  readonly workers?: number | readonly WorkerOptions[];
  /** Command that starts Python 3; default `python3`. */
  readonly python?: string;
  /** Requests that the index answers per minute before it says 429; default 6000. */
  readonly indexRequestsPerMinute?: number;
}

/** A running local network: a chain, a facilitator, workers and an index, all on loopback. */
export interface Localnet {
  /** Enough to run every command of this program against this network. */
  readonly env: Readonly<Record<string, string>>;
  readonly rpcUrl: string;
  readonly chainId: number;
  readonly usdc: Hex;
  readonly identityRegistry: Hex;
  readonly reputationRegistry: Hex;
  /** Holds 1000 USDC and gas; its key is in the file that `env` names. */
  readonly payer: Hex;
  /** Base of the index's public API. */
  readonly indexUrl: string;
  readonly workers: readonly LocalWorker[];
  /** Everything on disk; removed when the network ends, however it ends. */
  readonly folder: string;
  /** Resolves when a part dies by itself; the network is then of no use and should be stopped. */
  readonly failed: Promise<LocalnetPartError>;
  /** Registers a further agent whose file is served by the caller. Owner 0 is the first worker's. */
  registerAgent(uri: string, ownerIndex: number): Promise<{ readonly agentId: bigint; readonly owner: Hex }>;
  /** Ends every process and removes the folder; may be called twice. */
  stop(): Promise<void>;
}

/** Accounts beyond those of facilitator and workers, for agents that a caller registers. */
const SPARE_ACCOUNTS = 8;

/**
 * Starts a local network on free loopback ports; several may run at the same time.
 * @throws AnvilMissingError, PythonMissingError, LocalnetPartError; nothing is left behind then
 */
export async function startLocalnet(options: LocalnetOptions = {}): Promise<Localnet> {
  const guardian = startGuardian(mkdtempSync(join(tmpdir(), 'autoresearch-localnet-')));
  const parts: { close(): Promise<void> }[] = [];
  let stopped: Promise<void> | undefined;
  const isStopping = () => stopped !== undefined;
  const stop = () => {
    // The guardian first: it kills chain and training at once, so nothing waits for a run to end.
    stopped ??= Promise.all([guardian.end(), ...parts.map((part) => part.close())]).then(() => {});
    return stopped;
  };
  try {
    return { ...(await assemble(guardian, parts, options, isStopping)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assemble(
  guardian: Guardian,
  parts: { close(): Promise<void> }[],
  options: LocalnetOptions,
  isStopping: () => boolean,
): Promise<Omit<Localnet, 'stop'>> {
  const { folder } = guardian;
  const { workers = 3 } = options;
  const workerOptions = typeof workers === 'number' ? Array.from({ length: workers }, () => ({})) : workers;
  const payerKey = generatePrivateKey();
  const payer = privateKeyToAddress(payerKey);
  const [chain, python] = await Promise.all([
    startChain(guardian, { accounts: 1 + workerOptions.length + SPARE_ACCOUNTS, payer }),
    findPython(options.python ?? 'python3'),
  ]);
  parts.push({ close: () => chain.anvil.ended.then(() => {}) });
  const keep = <P extends HttpPart | ListeningWorker>(part: P): P => {
    parts.push({ close: 'stop' in part ? part.stop : part.close });
    return part;
  };
  const ownerOf = (index: number) => accountAt(chain, 1 + index);
  const [facilitator, index] = await Promise.all([
    startFacilitator(chain.client, accountAt(chain, 0)).then(keep),
    startIndex(chain.client, options.indexRequestsPerMinute ?? 6_000).then(keep),
  ]);
  const place = { guardian, python, facilitatorUrl: facilitator.origin };
  const listening = await Promise.all(
    workerOptions.map((one, index) => startWorker({ ...place, index, owner: ownerOf(index) }, one).then(keep)),
  );
  const localWorkers: LocalWorker[] = [];
  // One after the other, so that the first worker is agent 0.
  for (const [position, worker] of listening.entries()) {
    localWorkers.push(worker.complete(await registerOnChain(chain.client, ownerOf(position), worker.registrationUri)));
  }
  const indexUrl = `${index.origin}${INDEX_BASE_PATH}`;
  return {
    env: buildEnvironment(folder, chain.anvil.rpcUrl, indexUrl, writeKey(folder, payerKey), localWorkers),
    rpcUrl: chain.anvil.rpcUrl,
    chainId: LOCAL_CHAIN_ID,
    usdc: canonicalAddresses.token,
    identityRegistry: canonicalAddresses.identity,
    reputationRegistry: canonicalAddresses.reputation,
    payer,
    indexUrl,
    workers: localWorkers,
    folder,
    failed: watchParts(guardian, chain, isStopping),
    registerAgent: async (uri, ownerIndex) => {
      const owner = ownerOf(ownerIndex);
      return { agentId: await registerOnChain(chain.client, owner, uri), owner };
    },
  };
}

/** Resolves when a part ends although nobody has asked the network to stop. */
function watchParts(guardian: Guardian, chain: LocalChain, isStopping: () => boolean): Promise<LocalnetPartError> {
  return new Promise((resolve) => {
    void guardian.died.then(resolve);
    void chain.anvil.ended.then(({ exitCode, signal }) => {
      if (!isStopping())
        resolve(new LocalnetPartError('chain', `ended by itself (${signal ?? `exit code ${exitCode}`})`));
    });
  });
}

function accountAt(chain: LocalChain, index: number): Hex {
  const account = chain.accounts[index];
  if (!account) throw new LocalnetPartError('chain', `has no account number ${index}`);
  return account;
}

function writeKey(folder: string, key: Hex): string {
  const path = join(folder, 'payer.key');
  writeFileSync(path, `${key}\n`, { mode: 0o600 });
  return path;
}

function buildEnvironment(
  folder: string,
  rpcUrl: string,
  indexUrl: string,
  keyPath: string,
  workers: readonly LocalWorker[],
): Record<string, string> {
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir);
  const hosts = [indexUrl, ...workers.map(({ workerEndpoint }) => workerEndpoint)].map((url) => new URL(url).host);
  return {
    SCAN_API_URL: indexUrl,
    // The chain answers at `/` only; the name of the network is an ignored query there.
    ERPC_URL: `${rpcUrl}/?network={network}`,
    ERPC_NETWORK: 'base-sepolia',
    AUTORESEARCH_PRIVATE_KEY_FILE: keyPath,
    AUTORESEARCH_ALLOW_HTTP_HOSTS: hosts.join(','),
    DATA_DIR: dataDir,
  };
}
