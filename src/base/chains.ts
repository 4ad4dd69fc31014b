/** A dollar token that speaks EIP-3009, pinned: nothing of it is ever read from a worker's offer. */
export interface PinnedAsset {
  readonly address: `0x${string}`;
  /** EIP-712 domain name of the token's contract; on Base Sepolia it differs from the mainnets. */
  readonly domainName: string;
  readonly domainVersion: string;
}

/** A chain on which we can pay. */
export interface PaymentChain {
  /** The name that x402 v1, eRPC and `ERPC_NETWORK` use, such as `base-sepolia`. */
  readonly name: string;
  readonly chainId: number;
  /** CAIP-2 name, such as `eip155:84532`. */
  readonly caip2: `eip155:${number}`;
  readonly asset: PinnedAsset;
  /** A public RPC to fall back on; absent where we know of none that is dependable. */
  readonly publicRpcUrl?: string;
  readonly isTestnet: boolean;
}

type Row = readonly [
  name: string,
  chainId: number,
  asset: `0x${string}`,
  domainName: string,
  network: 'main' | 'test',
  rpc?: string,
];

/** The USDC rows of the x402 SDK's table that settle by EIP-3009 (x402.md section 2.2); a test compares the two. */
const ROWS: readonly Row[] = [
  ['base', 8453, '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913', 'USD Coin', 'main', 'https://mainnet.base.org'],
  ['base-sepolia', 84532, '0x036CbD53842c5426634e7929541eC2318f3dCF7e', 'USDC', 'test', 'https://sepolia.base.org'],
  [
    'ethereum',
    1,
    '0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48',
    'USD Coin',
    'main',
    'https://ethereum-rpc.publicnode.com',
  ],
  [
    'avalanche',
    43114,
    '0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E',
    'USD Coin',
    'main',
    'https://api.avax.network/ext/bc/C/rpc',
  ],
  [
    'polygon',
    137,
    '0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359',
    'USD Coin',
    'main',
    'https://polygon-bor-rpc.publicnode.com',
  ],
  ['arbitrum', 42161, '0xaf88d065e77c8cC2239327C5EDb3A432268e5831', 'USD Coin', 'main', 'https://arb1.arbitrum.io/rpc'],
  [
    'arbitrum-sepolia',
    421614,
    '0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d',
    'USD Coin',
    'test',
    'https://sepolia-rollup.arbitrum.io/rpc',
  ],
  ['celo', 42220, '0xcebA9300f2b948710d2653dD7B07f33A8B32118C', 'USDC', 'main', 'https://forno.celo.org'],
  ['celo-sepolia', 11142220, '0x01C5C0122039549AD1493B8220cABEdD739BC44E', 'USDC', 'test'],
  ['sei', 1329, '0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392', 'USDC', 'main'],
  ['sei-testnet', 1328, '0x4fCF1784B31630811181f670Aea7A7bEF803eaED', 'USDC', 'test'],
  ['monad', 143, '0x754704Bc059F8C67012fEd69BC8A327a5aafb603', 'USDC', 'main'],
  ['xdc', 50, '0xfA2958CB79b0491CC627c1557F441eF849Ca8eb1', 'USDC', 'main'],
  ['xdc-apothem', 51, '0xb5AB69F7bBada22B28e79C8FFAECe55eF1c771D4', 'USDC', 'test'],
  ['hpp', 190415, '0x401eCb1D350407f13ba348573E5630B83638E30D', 'Bridged USDC', 'main'],
  ['hpp-sepolia', 181228, '0x401eCb1D350407f13ba348573E5630B83638E30D', 'Bridged USDC', 'test'],
  ['edge', 36900, '0x9cb8142aEBBcdc60AF7c97Af897A67A8f3CA71C2', 'USDC.e', 'main'],
];

export const PAYMENT_CHAINS: readonly PaymentChain[] = ROWS.map(
  ([name, chainId, address, domainName, network, rpc]) => ({
    name,
    chainId,
    caip2: `eip155:${chainId}`,
    asset: { address, domainName, domainVersion: '2' },
    isTestnet: network === 'test',
    ...(rpc ? { publicRpcUrl: rpc } : {}),
  }),
);

/** Finds a chain by any of its names: `base`, `eip155:8453` or the chain id 8453. */
export function findChain(name: string | number): PaymentChain | undefined {
  const text = String(name).trim().toLowerCase();
  return PAYMENT_CHAINS.find((chain) => chain.name === text || chain.caip2 === text || String(chain.chainId) === text);
}

/** The ERC-8004 registries, the same address on every chain of a kind (erc8004.md section 10). */
export const REGISTRIES = {
  mainnet: {
    identity: '0x8004A169FB4a3325136EB29fA0ceB6D2e539a432',
    reputation: '0x8004BAa17C55a88189AE136b182e5fdA19dE9b63',
  },
  testnet: {
    identity: '0x8004A818BFB912233c491871b3d84c89A494BD9e',
    reputation: '0x8004B663056A597Dffe9eCcC1965A193B7388713',
  },
} as const;
