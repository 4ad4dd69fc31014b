import { findIdentityRegistry } from './agent-identity.ts';

/** One ERC-8004 identity registry, and where its log begins. */
export interface RegistryPlace {
  readonly chainId: number;
  /** Lower case. */
  readonly address: `0x${string}`;
  /** No agent was registered before this block. */
  readonly startBlock: number;
}

/** Where the reference deployment's logs begin (erc8004.md section 10); other chains are read from their first block. */
const START_BLOCKS: Readonly<Record<number, number>> = {
  8453: 41_663_799,
  84532: 37_174_254,
  1: 24_339_924,
  11155111: 9_980_000,
  56: 79_031_671,
  // Two start blocks circulate for this one; the earlier is right in either case.
  97: 77_785_485,
  137: 82_458_528,
  143: 52_952_898,
  10143: 10_392_352,
};

/**
 * The identity registry of a chain.
 * @param overrides what the operator says instead of the table, one entry per chain
 * @returns undefined for a chain without the reference deployment and without an override (31337 included)
 */
export function findRegistryPlace(
  chainId: number,
  overrides: readonly RegistryPlace[] = [],
): RegistryPlace | undefined {
  const override = overrides.find((place) => place.chainId === chainId);
  if (override) return override;
  const address = findIdentityRegistry(chainId);
  return address === undefined
    ? undefined
    : { chainId, address: `0x${address.slice(2)}`, startBlock: START_BLOCKS[chainId] ?? 0 };
}
