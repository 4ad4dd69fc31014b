import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addRange, type BlockRange, clipRanges, findGaps } from './chain-ranges.ts';

const range = fc
  .tuple(fc.nat({ max: 60 }), fc.nat({ max: 12 }))
  .map(([from, length]): BlockRange => ({ from, to: from + length }));
const listBlocks = (ranges: readonly BlockRange[]) =>
  ranges.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, index) => from + index));
const isNewestFirst = (ranges: readonly BlockRange[]) =>
  ranges.every(({ from, to }, index) => {
    const newer = ranges[index - 1];
    return from <= to && (newer === undefined || to < newer.from - 1);
  });

describe('ranges of blocks', () => {
  it('cover exactly what was added, in as few ranges as can be', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), (added) => {
        const ranges = added.reduce<readonly BlockRange[]>(addRange, []);
        expect(isNewestFirst(ranges)).toBe(true);
        expect(new Set(listBlocks(ranges))).toEqual(new Set(listBlocks(added)));
      }),
    );
  });

  it('and their gaps are everything, once', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 8 }), range, (added, within) => {
        const ranges = added.reduce<readonly BlockRange[]>(addRange, []);
        const gaps = findGaps(ranges, within);
        expect(isNewestFirst(gaps)).toBe(true);
        const covered = new Set(listBlocks(ranges));
        const open = listBlocks([within]).filter((block) => !covered.has(block));
        expect(listBlocks(gaps).sort((a, b) => a - b)).toEqual(open);
      }),
    );
  });

  it('end where they are clipped, and a range that ends before it begins adds nothing', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 8 }), fc.nat({ max: 80 }), (added, top) => {
        const ranges = added.reduce<readonly BlockRange[]>(addRange, []);
        expect(listBlocks(clipRanges(ranges, top))).toEqual(listBlocks(ranges).filter((block) => block <= top));
        expect(addRange(ranges, { from: top + 1, to: top })).toEqual(ranges);
      }),
    );
  });
});
