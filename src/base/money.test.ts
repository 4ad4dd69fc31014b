import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidAmountError } from './errors.ts';
import { atomicUsdc, formatUsd, isAtomicText, parseAtomic, parseUsd, sumAtomic } from './money.ts';

const MAX = BigInt(Number.MAX_SAFE_INTEGER);
const anyAtomic = fc.bigInt({ min: 0n, max: MAX }).map(atomicUsdc);

describe('dollars', () => {
  it.each([
    ['0', 0n],
    ['0.05', 50_000n],
    ['0.041667', 41_667n],
    ['1', 1_000_000n],
    ['0.000001', 1n],
    ['9007199254.740991', MAX],
    [0.25, 250_000n],
    [0.1, 100_000n],
    [5, 5_000_000n],
  ])('reads %s exactly', (value, atomic) => {
    expect(parseUsd(value)).toBe(atomic);
  });

  it.each([
    ...['', ' ', '-1', '+1', '.5', '5.', '01', '00.5', '1e3', '0x10', '1,5', '1_000', ' 1', '1 ', '1\n', '$1', 'NaN'],
    ...['Infinity', '0.0000001', '1.1234567', '١', '1.٥', '9007199254.740992', '99999999999', '1.2.3', 'null'],
    ...[-0.5, Number.NaN, Number.POSITIVE_INFINITY, 1e21, 1e-7, 0.1 + 0.2, Number.MIN_VALUE],
  ])('refuses to guess what %j means', (value) => {
    expect(() => parseUsd(value)).toThrow(InvalidAmountError);
  });

  it('come back as they were, for every amount', () => {
    fc.assert(
      fc.property(anyAtomic, (amount) => {
        expect(parseUsd(formatUsd(amount))).toBe(amount);
        expect(parseAtomic(amount.toString())).toBe(amount);
        expect(formatUsd(amount)).toMatch(/^\d+\.\d{2,6}$/);
      }),
    );
  });

  it('are shown with at least two decimals and without trailing zeros after them', () => {
    expect([0n, 50_000n, 41_667n, 1_000_000n, 100_000n, -50_000n].map(formatUsd)).toEqual([
      '0.00',
      '0.05',
      '0.041667',
      '1.00',
      '0.10',
      '-0.05',
    ]);
  });
});

describe('atomic amounts', () => {
  it.each([
    ...['', '-1', '+1', '01', '1.0', '1e3', '0x1', ' 1', '1 ', '1\n', '٣', '1n', '9007199254740992'],
    ...['99999999999999999999', '115792089237316195423570985008687907853269984665640564039457584007913129639935'],
  ])('refuses the spelling %j', (text) => {
    expect(isAtomicText(text)).toBe(false);
    expect(() => parseAtomic(text)).toThrow(InvalidAmountError);
  });

  it.each([-1n, -1, 1.5, Number.NaN, 2 ** 53, MAX + 1n])('refuses the value %s', (value) => {
    expect(() => atomicUsdc(value)).toThrow(InvalidAmountError);
  });

  it('add up exactly, or not at all', () => {
    fc.assert(
      fc.property(fc.array(anyAtomic, { maxLength: 5 }), (amounts) => {
        const exact = amounts.reduce<bigint>((sum, amount) => sum + amount, 0n);
        if (exact <= MAX) expect(sumAtomic(amounts)).toBe(exact);
        else expect(() => sumAtomic(amounts)).toThrow(InvalidAmountError);
      }),
    );
  });

  it('never read what is not their canonical spelling', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (isAtomicText(text)) expect(BigInt(text).toString()).toBe(text);
      }),
    );
  });
});

it('keeps a hostile amount short in its error', () => {
  expect(() => parseUsd('9'.repeat(100_000))).toThrow(/^"9{40}" is not an amount/);
});
