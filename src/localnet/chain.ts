import { createTestClient, defineChain, type Hex, http, publicActions, walletActions } from 'viem';
import * as z from 'zod';
import { type Anvil, LOCAL_CHAIN_ID, startAnvil } from './anvil.ts';
import multicallJson from './contracts/Multicall3.json' with { type: 'json' };
import { artifacts, canonicalAddresses, usdcMintAbi } from './contracts.ts';
import type { Guardian } from './guardian.ts';

/** Where Multicall3 lives on every chain; the facilitator finds precise reasons through it. */
export const MULTICALL3_ADDRESS = '0xcA11bde05977b3631167028862bE2a173976CA11';

const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x([0-9a-f]{2})+$/i.test(value);
const multicall = z.object({ deployedBytecode: z.custom<Hex>(isHex) }).parse(multicallJson);

/** 10,000 coins of gas, in wei: never runs out. */
const GAS_WEI = 10_000n * 10n ** 18n;
/** The payer's play money: 1000 USDC, atomic. */
const PAYER_USDC_ATOMIC = 1_000_000_000n;

export type LocalClient = ReturnType<typeof createLocalClient>;

export interface LocalChain {
  readonly anvil: Anvil;
  readonly client: LocalClient;
  /** Funded accounts that the node itself signs for: facilitator first, then the workers' owners. */
  readonly accounts: readonly Hex[];
}

/** A client of the local chain with public, wallet and test actions. */
export function createLocalClient(rpcUrl: string) {
  const chain = defineChain({
    id: LOCAL_CHAIN_ID,
    name: 'Local network',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
    contracts: { multicall3: { address: MULTICALL3_ADDRESS } },
    testnet: true,
  });
  // The chain is on this machine: a failed request means that it is gone, and polling costs a millisecond.
  const transport = http(rpcUrl, { retryCount: 0 });
  return createTestClient({ mode: 'anvil', chain, transport, pollingInterval: 20, cacheTime: 0 })
    .extend(publicActions)
    .extend(walletActions);
}

/** Starts the chain and places the contracts of the reference network at their real addresses. */
export async function startChain(
  guardian: Guardian,
  options: { readonly accounts: number; readonly payer: Hex },
): Promise<LocalChain> {
  const anvil = await startAnvil(guardian, options.accounts);
  const client = createLocalClient(anvil.rpcUrl);
  const [accounts] = await Promise.all([
    client.getAddresses(),
    client.setCode({ address: canonicalAddresses.token, bytecode: artifacts.token.deployedBytecode }),
    client.setCode({ address: canonicalAddresses.identity, bytecode: artifacts.identity.deployedBytecode }),
    client.setCode({ address: canonicalAddresses.reputation, bytecode: artifacts.reputation.deployedBytecode }),
    client.setCode({ address: MULTICALL3_ADDRESS, bytecode: multicall.deployedBytecode }),
    client.setBalance({ address: options.payer, value: GAS_WEI }),
  ]);
  await mint(client, accounts, options.payer);
  return { anvil, client, accounts };
}

async function mint(client: LocalClient, accounts: readonly Hex[], payer: Hex): Promise<void> {
  const hash = await client.writeContract({
    address: canonicalAddresses.token,
    abi: usdcMintAbi,
    functionName: 'mint',
    args: [payer, PAYER_USDC_ATOMIC],
    account: accounts[0] ?? payer,
  });
  await client.waitForTransactionReceipt({ hash });
}
