/** The coin in which a chain's gas is paid. */
export interface NativeCoin {
  readonly symbol: string;
  /** Most that one transaction may cost, in wei. */
  readonly feeCapWei: bigint;
}

const MILLI = 10n ** 15n;

/** A coin of thousands of dollars has a lower cap than one of cents. */
const ETHER: NativeCoin = { symbol: 'ETH', feeCapWei: 5n * MILLI };
const COINS: Readonly<Record<number, NativeCoin>> = {
  1: ETHER,
  8453: ETHER,
  42161: ETHER,
  84532: { symbol: 'ETH', feeCapWei: 50n * MILLI },
  421614: { symbol: 'ETH', feeCapWei: 50n * MILLI },
  137: { symbol: 'POL', feeCapWei: 1_000n * MILLI },
  43114: { symbol: 'AVAX', feeCapWei: 50n * MILLI },
  42220: { symbol: 'CELO', feeCapWei: 1_000n * MILLI },
  11142220: { symbol: 'CELO', feeCapWei: 1_000n * MILLI },
  143: { symbol: 'MON', feeCapWei: 1_000n * MILLI },
};

/** The native coin of a chain; of one that we know nothing of, its cap is that of a dear coin. */
export function findNativeCoin(chainId: number): NativeCoin {
  return COINS[chainId] ?? { ...ETHER, symbol: 'native coin' };
}

/** Spells wei as coins, exactly: `formatCoin(1_500_000_000_000_000n)` is `'0.0015'`. */
export function formatCoin(wei: bigint): string {
  const fraction = (wei % 10n ** 18n).toString().padStart(18, '0').replace(/0+$/, '');
  return `${wei / 10n ** 18n}${fraction === '' ? '' : `.${fraction}`}`;
}
