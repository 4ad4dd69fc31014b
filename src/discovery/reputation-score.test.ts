import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { averageValues, type FeedbackRow, type ReputationTag, summariseRows } from './reputation-score.ts';

const UNIT = 10n ** 18n;
const row = (value: bigint, decimals = 0, tag: ReputationTag = 'starred', client = 'aa'): FeedbackRow => ({
  client: `0x${client.repeat(20)}`,
  index: 1n,
  tag,
  value,
  decimals,
});

describe('averageValues', () => {
  // The published golden values of getSummary, exact instead of cut (erc8004.md section 6).
  it.each([
    ['A and B', [row(95n), row(9977n, 2), row(40n)], 78_256_666_666_666_666_666n],
    ['A', [row(95n), row(9977n, 2)], 97_385_000_000_000_000_000n],
    ['A twice', [row(95n), row(9977n, 2), row(95n), row(9977n, 2)], 97_385_000_000_000_000_000n],
    ['D', [row(-40n, 1), row(-5n), row(-15n, 1)], -3_500_000_000_000_000_000n],
    ['A after a revocation, and B', [row(9977n, 2), row(40n)], 69_885_000_000_000_000_000n],
    ['the largest value', [row(10n ** 38n)], 10n ** 56n],
  ])('is exact: %s', (_what, rows, mean) => {
    expect(averageValues(rows)).toBe(mean);
  });

  it('is null of nothing, and lies between the smallest and the largest value', () => {
    expect(averageValues([])).toBeNull();
    const values = fc.array(fc.record({ value: fc.bigInt(-(10n ** 38n), 10n ** 38n), decimals: fc.nat(18) }), {
      minLength: 1,
    });
    fc.assert(
      fc.property(values, (rows) => {
        const scaled = rows
          .map(({ value, decimals }) => value * 10n ** BigInt(18 - decimals))
          .toSorted((a, b) => (a < b ? -1 : 1));
        const mean = averageValues(rows) ?? 0n;
        expect(mean >= (scaled[0] ?? 0n) && mean <= (scaled.at(-1) ?? 0n)).toBe(true);
      }),
    );
  });
});

describe('summariseRows', () => {
  it('is null without a rating, whatever else there is', () => {
    expect(summariseRows([])).toBeNull();
    expect(summariseRows([row(99n, 0, 'successRate')])).toBeNull();
    expect(summariseRows([row(101n), row(-1n), row(10n ** 38n)])).toBeNull();
  });

  it('counts rows and reviewers, tag by tag, rounded to three digits', () => {
    const rows = [row(0n), row(1n, 0, 'starred', 'bb'), row(1n, 0, 'starred', 'bb'), row(75n, 2, 'successRate')];
    expect(summariseRows(rows)).toEqual({ count: 3, reviewers: 2, score: 0.667, successRate: 0.75 });
    expect(summariseRows([row(100n * UNIT, 18)])).toEqual({ count: 1, reviewers: 1, score: 100 });
  });
});
