import { type Dot, LABEL, shorten } from './chart-labels.ts';
import type { TrendPoint } from './standings.ts';

/** Roles of runs that try an idea; those of others but the baseline only measure one again. */
const IDEAS: readonly string[] = ['single', 'round'];
const GAINS: readonly string[] = ['KEEP', 'KEEP-SIMPLER'];
/** Size of the area between the axes, pixels. */
export const PLOT = { width: 790, height: 330 } as const;

/** What a run is: the script as it was, an idea that was kept, one that was not, or an extra run. */
export type Part = 'baseline' | 'kept' | 'other' | 'extra';

/** What a run looks like: as what it is, or too high or too low for the scale. */
export type Kind = Part | 'above' | 'below';

/** A run and its place. */
export interface Run extends Dot {
  readonly part: Part;
  readonly kind: Kind;
}

/** The part of the scores that is shown. */
export interface Frame {
  /** The scores drawn at their true height; others are at the edges. */
  readonly low: number;
  readonly high: number;
  readonly xDomain: [number, number];
  readonly yDomain: [number, number];
}

/**
 * Shows the scores of the baseline and of all kept ideas, and others as far from them as twice the typical distance of a
 * run from the best so far, at least half the range of the former and at most two, so that these stay readable.
 */
export function buildFrame(points: readonly TrendPoint[]): Frame {
  const margin = Math.max(0.5, points.length * 0.02);
  const xDomain: [number, number] = [Math.max(0.4, 1 - margin), points.length + margin];
  const finite = points.map(({ valBpb }) => valBpb).filter(Number.isFinite);
  if (finite.length === 0) return { low: 0, high: 1, xDomain, yDomain: [0, 1] };
  const leading = points.filter(isLeading).map(({ valBpb }) => valBpb);
  const anchors = leading.length > 0 ? leading : [Math.min(...finite)];
  const low = Math.min(...anchors);
  const high = Math.max(...anchors);
  const typical = 2 * medianDistance(points, low);
  const reach = high > low ? clamp(typical, (high - low) / 2, 2 * (high - low)) : typical;
  const shown = finite.filter((value) => value <= high + reach && value >= low - reach);
  const [bottom, top] = [Math.min(...shown), Math.max(...shown)];
  // A scale needs an extent: when all are equal, a thousandth of the score.
  const span = top - bottom || Math.abs(low) * 0.002 || 0.002;
  // More room below than above: no earlier run can be under the step line, so that labels go there.
  return {
    low: bottom,
    high: top,
    xDomain,
    yDomain: [bottom - span * (leading.length > 8 ? 0.3 : 0.16), top + span * 0.1],
  };
}

/** The median distance of the other runs from the best leading score before them, or from `fallback` before the first. */
function medianDistance(points: readonly TrendPoint[], fallback: number): number {
  let best: number | null = null;
  const distances: number[] = [];
  for (const point of points) {
    if (isLeading(point)) best = Math.min(point.valBpb, best ?? point.valBpb);
    else if (Number.isFinite(point.valBpb)) distances.push(Math.abs(point.valBpb - (best ?? fallback)));
  }
  return distances.sort((a, b) => a - b)[Math.floor((distances.length - 1) / 2)] ?? 0;
}

function classify({ role, verdict, valBpb, hasBeenChampion, isRefuted }: TrendPoint): Part {
  const isIdea = IDEAS.includes(role);
  if (!isIdea && role !== 'baseline') return 'extra';
  // A bad run is neither kept nor what others are compared with.
  if (!Number.isFinite(valBpb)) return 'other';
  if (verdict === 'BASELINE') return 'baseline';
  return isIdea && !isRefuted && (hasBeenChampion || GAINS.includes(verdict)) ? 'kept' : 'other';
}

/** Whether a run may be a corner of the step line. */
function isLeading(point: TrendPoint): boolean {
  return leads(classify(point));
}

function leads(part: Part): boolean {
  return part === 'baseline' || part === 'kept';
}

/** @param number the run's place in the order, from 1 */
export function locateRun(point: TrendPoint, number: number, { low, high, xDomain, yDomain }: Frame): Run {
  const { valBpb } = point;
  const part = classify(point);
  // Written so that NaN counts as above: a bad run must not vanish.
  const kind = leads(part) ? part : valBpb < low ? 'below' : valBpb <= high ? part : 'above';
  const x = ((number - xDomain[0]) / (xDomain[1] - xDomain[0])) * PLOT.width;
  const inside = ((yDomain[1] - valBpb) / (yDomain[1] - yDomain[0])) * PLOT.height;
  const y = kind === 'above' ? 7 : kind === 'below' ? PLOT.height - 7 : inside;
  const text = shorten(point.description, 28, LABEL.sizePx, 210) ?? `experiment ${number}`;
  return { number, valBpb, shouldLabel: leads(part), part, kind, text, x, y };
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
