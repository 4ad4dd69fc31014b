import type { Abi, Hex } from 'viem';
import * as z from 'zod';
import identity from './contracts/IdentityRegistry.json' with { type: 'json' };
import reputation from './contracts/ReputationRegistry.json' with { type: 'json' };
import token from './contracts/UsdcToken.json' with { type: 'json' };

/** One compiled contract of the local network. */
export interface ContractArtifact {
  /** Everything the contract has, for decoding; the typed constants for callers are in `src/base/abi.ts`. */
  readonly abi: Abi;
  /** Creation code; none of the three constructors takes an argument. */
  readonly bytecode: Hex;
  /** Runtime code with its immutables filled in: ready for `anvil_setCode`. */
  readonly deployedBytecode: Hex;
}

const code = z.custom<Hex>((value) => typeof value === 'string' && /^0x([0-9a-f]{2})+$/.test(value));
const abiItems = z.array(z.looseObject({ type: z.enum(['constructor', 'error', 'event', 'function']) }));
const artifactSchema = z.object({
  abi: z.custom<Abi>((value) => abiItems.safeParse(value).success),
  bytecode: code,
  deployedBytecode: code,
});

/** The contracts of the local network, as compiled by `npm run contracts`. */
export const artifacts: Readonly<Record<'identity' | 'reputation' | 'token', ContractArtifact>> = {
  identity: artifactSchema.parse(identity),
  reputation: artifactSchema.parse(reputation),
  token: artifactSchema.parse(token),
};

/** The token's one function that real USDC lacks: `value` in atomic units (1e-6 USDC), callable by anybody. */
export const usdcMintAbi = [
  {
    type: 'function',
    name: 'mint',
    stateMutability: 'nonpayable',
    inputs: [
      { name: 'to', type: 'address' },
      { name: 'value', type: 'uint256' },
    ],
    outputs: [],
  },
] as const;

/**
 * Addresses at which the reference network (Base Sepolia, chain 84532) has these contracts and at which the local
 * network places its own: prices, pinned domains and registry tables then hold unchanged.
 */
export const canonicalAddresses = {
  identity: '0x8004A818BFB912233c491871b3d84c89A494BD9e',
  reputation: '0x8004B663056A597Dffe9eCcC1965A193B7388713',
  token: '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
} as const;
