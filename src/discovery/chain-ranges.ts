/** Blocks from one number to another, both included. */
export interface BlockRange {
  readonly from: number;
  readonly to: number;
}

/** Adds a range to ranges that do not touch each other; the result is of that kind, too, newest first. */
export function addRange(ranges: readonly BlockRange[], added: BlockRange): readonly BlockRange[] {
  if (added.from > added.to) return ranges;
  const isApart = (range: BlockRange) => range.to < added.from - 1 || range.from > added.to + 1;
  const touching = ranges.filter((range) => !isApart(range));
  const merged = {
    from: Math.min(added.from, ...touching.map(({ from }) => from)),
    to: Math.max(added.to, ...touching.map(({ to }) => to)),
  };
  return [...ranges.filter(isApart), merged].sort((a, b) => b.from - a.from);
}

/** The ranges without what lies above a block. */
export function clipRanges(ranges: readonly BlockRange[], top: number): readonly BlockRange[] {
  return ranges.flatMap(({ from, to }) => (from > top ? [] : [{ from, to: Math.min(to, top) }]));
}

/** What of `within` no range covers, newest first. */
export function findGaps(ranges: readonly BlockRange[], within: BlockRange): readonly BlockRange[] {
  const gaps: BlockRange[] = [];
  let top = within.to;
  for (const { from, to } of [...ranges].sort((a, b) => b.from - a.from)) {
    if (from > top) continue;
    if (to < within.from) break;
    if (to < top) gaps.push({ from: to + 1, to: top });
    top = from - 1;
  }
  if (top >= within.from) gaps.push({ from: within.from, to: top });
  return gaps;
}
