import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { AnvilMissingError, LocalnetPartError } from './errors.ts';
import { type GuardedProcess, startGuarded } from './guarded-process.ts';
import type { Guardian } from './guardian.ts';

/** Chain id of Base Sepolia: prices, pinned domains and registry tables then hold unchanged. */
export const LOCAL_CHAIN_ID = 84532;

// Starts within 0.15 s; a loaded machine may take seconds, a broken binary forever.
const START_TIMEOUT_MS = 20_000;

export interface Anvil {
  /** Answers JSON-RPC at `/` only; a query is ignored. */
  readonly rpcUrl: string;
  readonly ended: GuardedProcess['ended'];
  kill(): void;
}

/**
 * Starts anvil on a free loopback port.
 * It mines on demand and every second (`--mixed-mining` with a block time), so that a payment settles in milliseconds
 * and the head's timestamp follows the wall clock, which proofs of expiry need.
 * @param accounts number of funded accounts that the node signs for
 * @throws AnvilMissingError  @throws LocalnetPartError when it does not start
 */
export async function startAnvil(guardian: Guardian, accounts: number): Promise<Anvil> {
  const home = join(guardian.folder, 'chain');
  mkdirSync(home);
  const child = startGuarded(guardian, {
    command: resolveAnvil(),
    args: [
      ...`--host 127.0.0.1 --port 0 --chain-id ${LOCAL_CHAIN_ID} --block-time 1 --mixed-mining`.split(' '),
      // Fresh accounts: the well-known development accounts are emptied by robots on every public chain.
      ...`--mnemonic-random --accounts ${accounts}`.split(' '),
      // Old states would go to disk after ten minutes; nobody asks for them.
      ...'--prune-history 300'.split(' '),
    ],
    cwd: home,
    env: { HOME: home, PATH: process.env.PATH ?? '' },
  });
  return { rpcUrl: await readAddress(child), ended: child.ended, kill: child.kill };
}

/** The platform's binary: the npm wrapper would add 100 ms and 43 MB. */
function resolveAnvil(): string {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const packageName = `@foundry-rs/anvil-${process.platform}-${arch}`;
  const own = createRequire(import.meta.url);
  try {
    return own.resolve(`${packageName}/bin/anvil`);
  } catch {
    // Strict package managers show the platform's package to anvil's own package only.
  }
  try {
    return createRequire(own.resolve('@foundry-rs/anvil/package.json')).resolve(`${packageName}/bin/anvil`);
  } catch {
    throw new AnvilMissingError(packageName);
  }
}

function readAddress(child: GuardedProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (problem: string) => {
      clearTimeout(timer);
      child.kill();
      reject(new LocalnetPartError('chain', problem));
    };
    const timer = setTimeout(() => fail(`did not listen within ${START_TIMEOUT_MS / 1000} seconds`), START_TIMEOUT_MS);
    void child.ended.then(({ exitCode }) => fail(`ended while starting (exit code ${exitCode ?? 'none'})`));
    let output = '';
    child.stderr.resume();
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      const address = /Listening on (127\.0\.0\.1:\d+)/.exec(output)?.[1];
      if (!address) return;
      clearTimeout(timer);
      // It logs every request: the pipe must be drained, the text is of no use.
      child.stdout.removeAllListeners('data').resume();
      resolve(`http://${address}`);
    });
  });
}
