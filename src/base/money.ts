import { InvalidAmountError } from './errors.ts';

declare const atomicUsdcBrand: unique symbol;

/** An amount in atomic USDC (1e-6 dollars), never negative and always below 2^53. */
export type AtomicUsdc = bigint & { readonly [atomicUsdcBrand]: true };

const ATOMIC_PER_USD = 1_000_000n;
/** Stores hand amounts back as JavaScript numbers: above this an amount would lose digits. 9 billion dollars. */
const MAX_ATOMIC = BigInt(Number.MAX_SAFE_INTEGER);
const ATOMIC_TEXT = /^(0|[1-9][0-9]{0,15})$/;
const USD_TEXT = /^(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?$/;

function isAtomicUsdc(value: bigint): value is AtomicUsdc {
  return value >= 0n && value <= MAX_ATOMIC;
}

/**
 * Brands a whole number of atomic USDC.
 * @throws InvalidAmountError when it is negative, unsafe or not an integer.
 */
export function atomicUsdc(value: bigint | number): AtomicUsdc {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) throw new InvalidAmountError(String(value), 'atomic');
  const amount = BigInt(value);
  if (!isAtomicUsdc(amount)) throw new InvalidAmountError(String(value), 'atomic');
  return amount;
}

/** True for the canonical decimal spelling of an atomic amount: no sign, exponent, space, hex or leading zero. */
export function isAtomicText(text: string): boolean {
  return ATOMIC_TEXT.test(text) && BigInt(text) <= MAX_ATOMIC;
}

/**
 * Reads the canonical decimal spelling of an atomic amount.
 * @throws InvalidAmountError for every other spelling.
 */
export function parseAtomic(text: string): AtomicUsdc {
  if (!isAtomicText(text)) throw new InvalidAmountError(text, 'atomic');
  return atomicUsdc(BigInt(text));
}

/**
 * Reads dollars exactly, without floating point: `parseUsd('0.05')` is 50000n (atomic USDC).
 * A number is read through its shortest decimal spelling.
 * @throws InvalidAmountError for signs, exponents, more than six decimals.
 */
export function parseUsd(value: string | number): AtomicUsdc {
  const text = String(value);
  const match = USD_TEXT.exec(text);
  if (!match) throw new InvalidAmountError(text, 'usd');
  const [, whole = '0', fraction = ''] = match;
  return atomicUsdc(BigInt(whole) * ATOMIC_PER_USD + BigInt(fraction.padEnd(6, '0')));
}

/** Spells atomic USDC as dollars with at least two decimals: `formatUsd(50000n)` is `'0.05'`. */
export function formatUsd(amountAtomic: bigint): string {
  const sign = amountAtomic < 0n ? '-' : '';
  const absolute = amountAtomic < 0n ? -amountAtomic : amountAtomic;
  const fraction = (absolute % ATOMIC_PER_USD)
    .toString()
    .padStart(6, '0')
    .replace(/0{1,4}$/, '');
  return `${sign}${absolute / ATOMIC_PER_USD}.${fraction}`;
}

/** Adds atomic amounts. @throws InvalidAmountError when the sum leaves the safe range. */
export function sumAtomic(amounts: readonly AtomicUsdc[]): AtomicUsdc {
  return atomicUsdc(amounts.reduce<bigint>((sum, amount) => sum + amount, 0n));
}
