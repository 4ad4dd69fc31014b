import { DEFAULT_ASSETS } from '@x402/evm';
import { getAddress } from 'viem';
import { describe, expect, it } from 'vitest';
import { findChain, PAYMENT_CHAINS } from './chains.ts';

/** What the SDK knows of the tokens of each chain. */
const sdkAssets = Object.entries(DEFAULT_ASSETS).flatMap(([network, assets]) =>
  assets.map((asset) => ({ network, ...asset })),
);

describe('the table of chains', () => {
  it.each(PAYMENT_CHAINS)('pins $name as the x402 SDK has it', ({ caip2, asset }) => {
    const known = sdkAssets.find(({ network, asset: address }) => network === caip2 && address === asset.address);
    expect(known).toMatchObject({ name: asset.domainName, version: asset.domainVersion, decimals: 6 });
    // A token that the SDK would move by Permit2 must not be in the table.
    expect(known?.assetTransferMethod ?? 'eip3009').toBe('eip3009');
    expect(getAddress(asset.address)).toBe(asset.address);
  });

  it("holds every one of the SDK's USDC rows that settle by EIP-3009", () => {
    const rows = sdkAssets.filter(
      ({ symbol, assetTransferMethod }) => symbol.startsWith('USDC') && assetTransferMethod !== 'permit2',
    );
    expect(rows.length).toBe(17);
    for (const { network, asset } of rows) {
      expect(findChain(network)?.asset.address, network).toBe(asset);
    }
  });

  it('has one row for each name and id', () => {
    for (const key of ['name', 'chainId', 'caip2'] as const) {
      expect(new Set(PAYMENT_CHAINS.map((chain) => chain[key])).size).toBe(PAYMENT_CHAINS.length);
    }
  });

  it.each(['base', 'eip155:8453', 8453, '8453', ' Base '])('finds Base as %j', (name) => {
    expect(findChain(name)?.chainId).toBe(8453);
  });

  it.each(['', 'eip155:', 'eip155:08453', 'solana', '0x2105', 'base-', 0, -1, Number.NaN])(
    'knows no chain %j',
    (name) => {
      expect(findChain(name)).toBeUndefined();
    },
  );
});
