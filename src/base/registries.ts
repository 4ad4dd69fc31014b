import { REGISTRIES } from './chains.ts';

/** The two ERC-8004 registries of one chain, pinned: where an agent is registered, and where it is rated. */
export interface RegistryPair {
  readonly identity: `0x${string}`;
  readonly reputation: `0x${string}`;
}

/** Chains of the reference deployment (erc8004.md section 10). */
const MAINNET_IDS: readonly number[] = [
  1, 8453, 42161, 10, 137, 43114, 56, 143, 534352, 100, 42220, 167000, 59144, 4326, 196, 2741, 5000, 1868, 2345, 1088,
  295, 1187947933, 360,
];
const TESTNET_IDS: readonly number[] = [
  11155111, 84532, 421614, 11155420, 80002, 43113, 97, 10143, 534351, 10200, 11142220, 167013, 6343, 59141, 1952, 11124,
  5003, 1946, 48816, 59902, 296, 324705682, 5042002, 11011,
];

/** The registries of a chain; undefined for chains without the reference deployment (31337 included). */
export function findRegistries(chainId: number): RegistryPair | undefined {
  if (MAINNET_IDS.includes(chainId)) return REGISTRIES.mainnet;
  return TESTNET_IDS.includes(chainId) ? REGISTRIES.testnet : undefined;
}
