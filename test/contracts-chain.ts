import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import {
  type Abi,
  type Address,
  BaseError,
  ContractFunctionRevertedError,
  createTestClient,
  defineChain,
  type Hex,
  hexToBigInt,
  http,
  parseEventLogs,
  parseSignature,
  publicActions,
  serializeSignature,
  type TransactionReceipt,
  toHex,
  walletActions,
} from 'viem';
import { mnemonicToAccount } from 'viem/accounts';
import { artifacts, canonicalAddresses } from '../src/localnet/contracts.ts';

const CHAIN_ID = 84532;
/** Anvil's public development mnemonic: its accounts are unlocked and funded on every local chain. */
const DEV_MNEMONIC = 'test test test test test test test test test test test junk';

/** Local signer of one of anvil's ten development accounts. */
export function devAccount(addressIndex: number) {
  return mnemonicToAccount(DEV_MNEMONIC, { addressIndex });
}

function createClient(url: string) {
  const chain = defineChain({
    id: CHAIN_ID,
    name: 'local test chain',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  });
  // cacheTime 0: a cached block number would hide the block that a test has just mined.
  return createTestClient({ mode: 'anvil', chain, transport: http(url), pollingInterval: 10, cacheTime: 0 })
    .extend(publicActions)
    .extend(walletActions);
}

export interface TestChain {
  readonly client: ReturnType<typeof createClient>;
  /** Mines one block with exactly this Unix time in seconds. */
  readonly moveTo: (unixSeconds: bigint) => Promise<void>;
  /** Waits for the receipt and fails unless the transaction succeeded. */
  readonly succeed: (hash: Promise<Hex>) => Promise<TransactionReceipt>;
  readonly stop: () => Promise<void>;
}

/**
 * Starts anvil on a free loopback port, mining on demand.
 * @param genesisUnix time of the first block, in Unix seconds; the present when left out
 */
export async function startChain(genesisUnix?: number): Promise<TestChain> {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const binary = createRequire(import.meta.url).resolve(`@foundry-rs/anvil-${process.platform}-${arch}/bin/anvil`);
  const args = ['--host', '127.0.0.1', '--port', '0', '--chain-id', String(CHAIN_ID)];
  if (genesisUnix !== undefined) args.push('--timestamp', String(genesisUnix));
  const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const client = createClient(`http://${await readListeningAddress(child)}`);
  return {
    client,
    moveTo: async (unixSeconds) => {
      await client.setNextBlockTimestamp({ timestamp: unixSeconds });
      await client.mine({ blocks: 1 });
    },
    succeed: async (hash) => {
      const receipt = await client.waitForTransactionReceipt({ hash: await hash });
      if (receipt.status !== 'success') throw new Error(`transaction ${receipt.transactionHash} reverted`);
      return receipt;
    },
    stop: async () => {
      process.off('exit', kill);
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      kill();
      await exited;
    },
  };
}

async function readListeningAddress(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('anvil has no stdout');
  for await (const line of createInterface({ input: child.stdout })) {
    const address = /^Listening on (\S+)$/.exec(line)?.[1];
    if (address === undefined) continue;
    // Nobody reads the log from here on; unread, its pipe would fill up and block the chain.
    child.stdout.resume();
    return address;
  }
  throw new Error('anvil ended before it listened');
}

/** Deploys the creation code of an artifact from development account 0. */
export async function deploy(chain: TestChain, name: keyof typeof artifacts): Promise<Address> {
  const data = artifacts[name].bytecode;
  const receipt = await chain.succeed(chain.client.sendTransaction({ account: devAccount(0).address, data }));
  if (typeof receipt.contractAddress !== 'string') throw new Error(`${name} was not deployed`);
  return receipt.contractAddress;
}

/** Deploys a contract and copies its runtime code to the canonical address; returns that address. */
export async function placeCanonical<const Name extends keyof typeof artifacts>(chain: TestChain, name: Name) {
  const bytecode = await chain.client.getCode({ address: await deploy(chain, name) });
  if (bytecode === undefined) throw new Error(`${name} has no code`);
  await chain.client.setCode({ address: canonicalAddresses[name], bytecode });
  return canonicalAddresses[name];
}

/** The revert of a contract call: its text, or its custom error as `Name(argument, …)`. */
export async function revertOf(call: Promise<unknown>): Promise<string> {
  const outcome = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (outcome === undefined) throw new Error('the call did not revert');
  const revert =
    outcome instanceof BaseError ? outcome.walk((cause) => cause instanceof ContractFunctionRevertedError) : null;
  if (!(revert instanceof ContractFunctionRevertedError)) throw outcome;
  if (revert.reason !== undefined && (revert.data === undefined || revert.data.errorName === 'Error')) {
    return revert.reason;
  }
  return `${revert.data?.errorName ?? revert.signature}(${(revert.data?.args ?? []).join(', ')})`;
}

/** Names of the decoded events of a receipt, in the order of the logs. */
export function eventNames(abi: Abi, receipt: TransactionReceipt): string[] {
  return parseEventLogs({ abi, logs: receipt.logs }).map((log) => log.eventName ?? 'unknown');
}

/** Order of the curve secp256k1. */
const CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

/** The other valid ECDSA form of a signature: s mirrored into the upper half, v flipped. */
export function mirrorSignature(signature: Hex): Hex {
  const { r, s, yParity } = parseSignature(signature);
  return serializeSignature({ r, s: toHex(CURVE_ORDER - hexToBigInt(s), { size: 32 }), yParity: 1 - yParity });
}
