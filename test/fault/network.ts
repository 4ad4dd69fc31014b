import { type Hex, parseAbiItem } from 'viem';
import { usdcAbi } from '../../src/base/abi.ts';
import { createLocalClient } from '../../src/localnet/chain.ts';
import { startFacilitator } from '../../src/localnet/facilitator.ts';
import { type Localnet, startLocalnet } from '../../src/localnet/localnet.ts';
import { readPayerKey } from '../localnet-client.ts';
import { type SignerDouble, startBroker, startRemoteSigner, startUpfrontWorker } from './doubles.ts';

/** Every worker asks the same, atomic USDC: budgets can then be exact. */
export const PRICE_ATOMIC = 10_000n;
/** How long a run of a double takes: long enough to be killed in. */
const WORK_MS = 120;

/** Workers that one data folder has for itself. */
export interface LaneWorkers {
  readonly sync: string;
  readonly async: string;
  readonly upfront: string;
}

/** One use of an authorization, as the chain has it. */
export interface Settlement {
  readonly nonce: Hex;
  readonly tx: Hex;
  readonly to: Hex;
  readonly value: bigint;
}

/** The local network with the kinds of workers that it lacks, and a view of its chain. */
export interface ChaosNetwork {
  readonly localnet: Localnet;
  readonly lanes: readonly LaneWorkers[];
  readonly signer: SignerDouble;
  /** Every use of an authorization of the payer since a block. */
  readSettlements(fromBlock: bigint): Promise<Settlement[]>;
  readBalance(): Promise<bigint>;
  readBlock(): Promise<bigint>;
  close(): Promise<void>;
}

const AUTHORIZATION_USED = parseAbiItem('event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)');
const TRANSFER = parseAbiItem('event Transfer(address indexed from, address indexed to, uint256 value)');

/** Starts a network for so many data folders at the same time. */
export async function startChaosNetwork(laneCount: number): Promise<ChaosNetwork> {
  const localnet = await startLocalnet({
    workers: Array.from({ length: laneCount }, () => ({ priceAtomic: PRICE_ATOMIC, slowdownMs: 0 })),
  });
  const parts: { close(): Promise<void> }[] = [];
  const keep = <P extends { close(): Promise<void> }>(part: P): P => {
    parts.push(part);
    return part;
  };
  const close = async () => {
    await Promise.all(parts.map((part) => part.close()));
    await localnet.stop();
  };
  try {
    const client = createLocalClient(localnet.rpcUrl);
    // The node's spare accounts come last: the network itself uses the first ones.
    const [settler, payTo] = (await client.getAddresses()).slice(-2);
    if (!settler || !payTo) throw new Error('the chain has no spare accounts');
    const facilitator = keep(await startFacilitator(client, settler));
    const options = { facilitatorUrl: facilitator.origin, payTo, priceAtomic: PRICE_ATOMIC, workMs: WORK_MS };
    const lanes = await Promise.all(
      localnet.workers.map(async ({ workerEndpoint }) => ({
        sync: workerEndpoint,
        async: keep(await startBroker(options)).endpoint,
        upfront: keep(await startUpfrontWorker(options)).endpoint,
      })),
    );
    const signer = keep(await startRemoteSigner(readPayerKey(localnet)));
    return { localnet, lanes, signer, close, ...createView(localnet, client) };
  } catch (error) {
    await close();
    throw error;
  }
}

function createView({ usdc, payer }: Localnet, client: ReturnType<typeof createLocalClient>) {
  return {
    readBlock: () => client.getBlockNumber({ cacheTime: 0 }),
    readBalance: () => client.readContract({ address: usdc, abi: usdcAbi, functionName: 'balanceOf', args: [payer] }),
    readSettlements: async (fromBlock: bigint): Promise<Settlement[]> => {
      const where = { address: usdc, fromBlock, strict: true } as const;
      const [used, moved] = await Promise.all([
        client.getLogs({ ...where, event: AUTHORIZATION_USED, args: { authorizer: payer } }),
        client.getLogs({ ...where, event: TRANSFER, args: { from: payer } }),
      ]);
      if (used.length !== moved.length)
        throw new Error(`${used.length} authorizations were used, but ${moved.length} transfers left the payer`);
      return used.map(({ args: { nonce }, transactionHash: tx }) => {
        const transfers = moved.filter(({ transactionHash }) => transactionHash === tx);
        const [transfer] = transfers;
        if (!transfer || transfers.length !== 1) throw new Error(`${tx} moved money ${transfers.length} times`);
        return { nonce, tx, to: transfer.args.to, value: transfer.args.value };
      });
    },
  };
}
