import { cleanUntrusted } from '../base/untrusted.ts';

/** Font size and height of a row in pixels, rows a label may be away from its dot, and labels that a reader can bear. */
export const LABEL = { sizePx: 11, rowPx: 14, maxRows: { above: 4, below: 14 }, maxCount: 24 } as const;

/** To keep one dot in sight a label moves up by a row, or down by two. */
const COVER_COST_PX = 2.6 * LABEL.rowPx;

/** A run on the chart; pixels from the plot's upper left corner. */
export interface Dot {
  readonly number: number;
  readonly valBpb: number;
  /** Whether it is worth a label and must not be covered by another one's. */
  readonly shouldLabel: boolean;
  readonly text: string;
  readonly x: number;
  readonly y: number;
}

/** Pixels. */
interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export interface Label {
  readonly text: string;
  readonly isChampion: boolean;
  readonly align: 'left' | 'center' | 'right';
  /** Where the text is anchored, pixels; vertically its middle. */
  readonly x: number;
  readonly y: number;
  /** The area that the text may need, pixels. */
  readonly box: Box;
  /** The upright line from the dot to a label that is not beside it. */
  readonly leader: Box | null;
}

/**
 * Labels the most important runs that should have one (champion, first champion, then by gain), each at the cheapest place where it
 * covers no other label, dot of these or part of the step line. A label without such a place is left out.
 * @param champions those of them that were the best so far, in order: the corners of the step line
 * @param plot size of the plot, pixels
 */
export function placeLabels(
  dots: readonly Dot[],
  champions: readonly Dot[],
  plot: { readonly width: number; readonly height: number },
): Label[] {
  const champion = champions.at(-1);
  const gains = new Map(
    champions.map((dot, index) => [dot, (champions[index - 1]?.valBpb ?? Number.MAX_VALUE) - dot.valBpb]),
  );
  const rank = (dot: Dot) => (dot === champion ? Number.POSITIVE_INFINITY : (gains.get(dot) ?? 0));
  const named = dots.filter((dot) => dot.shouldLabel);
  const chosen = [...named].sort((a, b) => (rank(a) === rank(b) ? a.number - b.number : rank(b) - rank(a)));
  // From left to right, because labels end under their dots and so form stairs; but the champion's is never lost.
  const order = chosen
    .slice(0, LABEL.maxCount)
    .sort((a, b) => (a === champion ? -1 : b === champion ? 1 : a.number - b.number));
  const solid = [...named.map((dot) => boxAround(dot, dots.length > 100 ? 4 : 5)), ...stepBoxes(champions, plot.width)];
  const soft = dots.filter((dot) => !dot.shouldLabel).map((dot) => boxAround(dot, 3));
  const labels: Label[] = [];
  for (const dot of order) {
    let best: { label: Label; cost: number } | null = null;
    for (const { label, cost } of candidatesFor(dot, dot === champion)) {
      if (!isInside(label.box, plot) || solid.some((box) => isHit(label, box))) continue;
      const total = cost + COVER_COST_PX * soft.filter((box) => overlaps(label.box, box)).length;
      if (best === null || total < best.cost) best = { label, cost: total };
    }
    if (best === null) continue;
    labels.push(best.label);
    solid.push(best.label.box, ...(best.label.leader === null ? [] : [best.label.leader]));
  }
  return labels;
}

/** Places for one label: beside its dot, then row by row away from it; `cost` is in pixels of distance. */
function* candidatesFor(dot: Dot, isChampion: boolean): Generator<{ label: Label; cost: number }> {
  const width = estimateWidth(dot.text, LABEL.sizePx) * (isChampion ? 1.1 : 1);
  for (let row = -LABEL.maxRows.above; row <= LABEL.maxRows.below; row++) {
    for (const align of ['right', 'left', 'center'] as const) {
      if (row === 0 && align === 'center') continue;
      // Beside the dot the text keeps clear of it; in other rows its end is over or under the dot.
      const gap = row === 0 ? 9 : -4;
      const x = dot.x + (align === 'right' ? -gap : align === 'left' ? gap : 0);
      const y = dot.y + row * LABEL.rowPx;
      const left = align === 'left' ? x : align === 'right' ? x - width : x - width / 2;
      const box = { left, right: left + width, top: y - LABEL.rowPx / 2, bottom: y + LABEL.rowPx / 2 };
      const label = { text: dot.text, isChampion, align, x, y, box, leader: leaderTo(dot, row, box) };
      // Under the step line is nothing but labels; there, a text to the right would bar the way of later leaders.
      const barring = row <= 0 || align === 'right' ? 0 : align === 'center' ? 20 : 40;
      yield { label, cost: Math.abs(row) * LABEL.rowPx * (row < 0 ? 2.5 : 1) + barring };
    }
  }
}

function leaderTo(dot: Dot, row: number, box: Box): Box | null {
  if (Math.abs(row) < 2) return null;
  const [top, bottom] = row > 0 ? [dot.y + 6, box.top + 1] : [box.bottom - 1, dot.y - 6];
  return { left: dot.x - 1, right: dot.x + 1, top, bottom };
}

/** The step line as thin boxes: along from each champion to the next, then down to it. */
function stepBoxes(champions: readonly Dot[], rightPx: number): Box[] {
  return champions.flatMap((dot, index) => {
    const next = champions[index + 1];
    const along = { left: dot.x, right: next?.x ?? rightPx, top: dot.y - 2, bottom: dot.y + 2 };
    return next === undefined ? [along] : [along, { left: next.x - 2, right: next.x + 2, top: dot.y, bottom: next.y }];
  });
}

function boxAround(dot: Dot, radius: number): Box {
  return { left: dot.x - radius, right: dot.x + radius, top: dot.y - radius, bottom: dot.y + radius };
}

function overlaps(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

function isHit(label: Label, box: Box): boolean {
  return overlaps(label.box, box) || (label.leader !== null && overlaps(label.leader, box));
}

function isInside(box: Box, plot: { readonly width: number; readonly height: number }): boolean {
  return box.left >= -6 && box.top >= 0 && box.right <= plot.width + 20 && box.bottom <= plot.height - 2;
}

/** Cleans a text and cuts it to a number of characters and to a width in pixels; null when nothing is left. */
export function shorten(text: string, maxChars: number, sizePx: number, maxWidthPx: number): string | null {
  // The two noncharacters are not among the invisible ones, yet XML forbids them.
  const label = cleanUntrusted(text.replace(/[\uFFFE\uFFFF]/g, ' '), maxChars);
  const isTooWide = label !== null && maxChars > 1 && estimateWidth(label, sizePx) > maxWidthPx;
  return isTooWide ? shorten(text, maxChars - 1, sizePx, maxWidthPx) : label;
}

const WIDE = /[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uff60\p{Extended_Pictographic}]/u;

/** Width in pixels by classes of characters, as wide as in DejaVu Sans, one of the widest fonts a viewer may pick. */
export function estimateWidth(text: string, sizePx: number): number {
  return [...text].reduce((sum, character) => sum + widthEm(character) * sizePx, 0);
}

function widthEm(character: string): number {
  if (/\p{M}/u.test(character)) return 0;
  if (/[ijlIftr.,:;|!'()[\] ]/.test(character)) return 0.4;
  if (/[mwMW%@]/.test(character) || WIDE.test(character)) return 1.02;
  return /[\p{Lu}&<>=+~^_→←−…—]/u.test(character) ? 0.8 : 0.64;
}
