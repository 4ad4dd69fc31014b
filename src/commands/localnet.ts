import { CoordinatorError } from '../base/errors.ts';
import { formatUsd } from '../base/money.ts';
import { type Localnet, startLocalnet } from '../localnet/localnet.ts';

/** What a command is given to talk to the outside; it never touches the process itself. */
export interface CommandIo {
  /** Prints one line of the command's output. */
  readonly stdout: (line: string) => void;
  /** Prints one line for the person at the terminal. */
  readonly stderr: (line: string) => void;
  /** Fires when the command shall end. */
  readonly signal: AbortSignal;
}

/**
 * Keeps a local network up until the signal fires or a part of it dies.
 * @returns the exit code: 0 after the signal, 1 when it did not start or broke
 */
export async function runLocalnet(
  options: { readonly workers: number; readonly json: boolean },
  io: CommandIo,
): Promise<number> {
  const network = await startOrExplain(options.workers, io);
  if (!network) return 1;
  try {
    if (options.json) io.stdout(JSON.stringify(describeForMachines(network)));
    else for (const line of describeForPeople(network)) io.stdout(line);
    const failure = await Promise.race([network.failed, whenAborted(io.signal)]);
    if (failure === null) return 0;
    io.stderr(`${failure.message} ${failure.nextStep}`);
    return 1;
  } finally {
    await network.stop();
  }
}

async function startOrExplain(workers: number, io: CommandIo): Promise<Localnet | null> {
  try {
    return await startLocalnet({ workers });
  } catch (error) {
    if (!(error instanceof CoordinatorError)) throw error;
    io.stderr(`${error.message} ${error.nextStep}`);
    return null;
  }
}

function whenAborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}

/** The object that other programs rely on (design.md section 8). */
function describeForMachines(network: Localnet) {
  return {
    env: network.env,
    rpc_url: network.rpcUrl,
    chain_id: network.chainId,
    usdc: network.usdc,
    identity_registry: network.identityRegistry,
    reputation_registry: network.reputationRegistry,
    payer: network.payer,
    index_url: network.indexUrl,
    workers: network.workers.map((worker) => ({
      worker_endpoint: worker.workerEndpoint,
      pay_to: worker.payTo,
      price_atomic: worker.priceAtomic.toString(),
      agent_id: worker.agentId.toString(),
    })),
  };
}

function describeForPeople(network: Localnet): string[] {
  return [
    `Local network is up: chain ${network.chainId} at ${network.rpcUrl}, index at ${network.indexUrl}`,
    `Payer ${network.payer} holds 1000 USDC of play money.`,
    ...network.workers.map(
      ({ agentId, workerEndpoint, priceAtomic }) =>
        `Worker ${agentId}: ${workerEndpoint}, $${formatUsd(priceAtomic)} per experiment`,
    ),
    '',
    'In another shell, paste this and use any command:',
    ...Object.entries(network.env).map(([name, value]) => `export ${name}=${quoteForShell(value)}`),
    '',
    'Ctrl-C stops it and removes everything.',
  ];
}

function quoteForShell(value: string): string {
  return /^[\w./:,@-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}
