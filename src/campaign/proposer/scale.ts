import { type Literal, numberOf } from './literals.ts';

/** The way in which a number is moved: a step means the same thing wherever on its scale it is taken. */
export type Scale =
  /** Doubled and halved: rates, widths, sizes. */
  | 'log'
  /** Moved by tenths within 0 to 1. */
  | 'fraction'
  /** Close to 1, such as momentum: its distance from 1 is doubled and halved. */
  | 'tail'
  /** Small whole numbers, moved by ones. */
  | 'count'
  /** A float that is 0, which is usually "off": switched on. */
  | 'zero';

export type Direction = 1 | -1;

/** Names of values that are compared by ratio, even where they lie between 0 and 1. */
const RATE = /(^|_)(LR|RATE|EPS|EPSILON|DECAY|WD|STD|INIT|SCALE|TEMP|TEMPERATURE|NOISE)(_|$|\d)|LR$/;
/** Whole numbers above this are widths or sizes, which are doubled; 8 layers become 9, 16 units become 32. */
const LARGEST_COUNT = 12;
/** Fractions below are mixed in sparingly: halves and doubles of them are what differs. */
const SMALL_FRACTION = 0.2;
const TAIL_FROM = 0.9;
const FRACTION_STEP = 0.1;
/** First value of a float that was 0, and by how much smaller it gets per step of caution. */
const FIRST_VALUE = 0.1;
const CAUTION = 16;

/** How a number is moved. @returns null for values that have no scale */
export function scaleOf(name: string, literal: Literal): Scale | null {
  if (literal.kind === 'int') return Math.abs(literal.value) <= LARGEST_COUNT ? 'count' : 'log';
  if (literal.kind !== 'float') return null;
  if (literal.value === 0) return 'zero';
  if (literal.value < 0 || literal.value >= 1 || RATE.test(name)) return 'log';
  if (literal.value >= TAIL_FROM) return 'tail';
  return literal.value < SMALL_FRACTION ? 'log' : 'fraction';
}

/**
 * Moves a number.
 * @param size in steps of its scale: 1 is the usual one, 0.5 a cautious one
 * @returns null where there is nothing on that side
 */
export function moveLiteral(literal: Literal, scale: Scale, direction: Direction, size: number): Literal | null {
  const value = numberOf(literal);
  if (value === null) return null;
  const moved = moveNumber(value, scale, direction, size);
  return moved === null || moved === value ? null : likeLiteral(literal, moved, direction);
}

function moveNumber(value: number, scale: Scale, direction: Direction, size: number): number | null {
  switch (scale) {
    case 'log':
      return value * 2 ** (direction * size);
    case 'fraction': {
      const moved = value + direction * size * FRACTION_STEP;
      if (moved >= 1) return (value + 1) / 2;
      return moved < 1e-9 ? 0 : moved;
    }
    case 'tail':
      return 1 - (1 - value) * 2 ** (-direction * size);
    case 'count': {
      const moved = value + direction * Math.max(1, Math.round(size));
      // Nothing of something is another program; what is off already can only be switched on.
      return value > 0 && moved < 1 ? null : value === 0 && moved < 0 ? null : moved;
    }
    case 'zero':
      return direction > 0 ? FIRST_VALUE * CAUTION ** (Math.min(size, 1) - 1) : null;
  }
}

/** Three digits are enough for a knob, and whole numbers stay whole. */
function likeLiteral(literal: Literal, moved: number, direction: Direction): Literal | null {
  if (literal.kind === 'float') return { kind: 'float', value: roundTo(moved) };
  if (literal.kind !== 'int') return null;
  const rounded = direction > 0 ? Math.ceil(moved - 1e-9) : Math.floor(moved + 1e-9);
  return rounded === literal.value || !Number.isSafeInteger(rounded) ? null : { ...literal, value: rounded };
}

function roundTo(value: number): number {
  // Close to 1 the digits that matter are those of the distance from it.
  const digits = value > TAIL_FROM && value < 1 ? 5 : 3;
  return Number(value.toPrecision(digits));
}

/** Where a number lies on its scale, in steps; null where the scale has no such place. */
export function coordinate(value: number, scale: Scale): number | null {
  switch (scale) {
    case 'log':
      return value > 0 ? Math.log2(value) : null;
    case 'fraction':
      return value / FRACTION_STEP;
    case 'tail':
      return value < 1 ? -Math.log2(1 - value) : null;
    case 'count':
      return value;
    case 'zero':
      return value > 0 ? 1 + Math.log(value / FIRST_VALUE) / Math.log(CAUTION) : 0;
  }
}
