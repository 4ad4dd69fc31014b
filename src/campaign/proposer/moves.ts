import { findKnobs } from '../knobs.ts';
import { findChoices } from './choices.ts';
import { type Effect, type Evidence, type Neighbour, tagOf } from './evidence.ts';
import { type Literal, numberOf } from './literals.ts';
import { coordinate, type Direction, moveLiteral, type Scale, scaleOf } from './scale.ts';
import { isSame, type Point, type Program, type Setting } from './space.ts';

/** A change that could be tried, and what it is expected to bring. */
export interface Move {
  readonly settings: readonly Setting[];
  /** Expected gain of the score, in its unit: what candidates are compared by. */
  readonly expected: number;
  /** Why it is worth a run, one clause. */
  readonly reason: string;
}

type Worth = Pick<Move, 'expected' | 'reason'>;

/** Knobs of these kinds decide most often (field.md section 1): rates, batch, depth and width come first. */
const OFTEN_DECISIVE = /LR|RATE|BATCH|DEPTH|LAYER|WIDTH|DIM|ORDER|HIDDEN/;
const DECISIVE_FACTOR = 1.25;
/** A move is clearly dead where it lost more than this share of what all changes since then have gained. */
const REVIVAL = 0.5;
/** The gain of a second step in the same direction, relative to that of the first. */
const FOLLOW = 0.6;
/** Trust in a parabola through three points. */
const CURVE_TRUST = 0.7;
/** Trust in a gain that was seen from another base: most gains of different knobs add up. */
const ELSEWHERE_TRUST = 0.95;
/** Places of a cautious, a bold and a fine step: tried when nothing better is known. */
const LATER_STEPS = [
  { size: 0.5, share: 0.03 },
  { size: 2, share: 0.015 },
  { size: 0.25, share: 0.01 },
] as const;
/** A result that equals the base's to the last digit: the knob does nothing here. */
const INERT = 1e-9;
const INERT_SHARE = 0.01;

/** Every move of one knob around the base. */
export function listSingleMoves(
  program: Program,
  point: Point,
  baseScore: number,
  evidence: Evidence,
  locked: (name: string) => boolean,
): Move[] {
  const knobs = new Map(findKnobs(program.source).map((knob) => [knob.name, knob]));
  return [...point.values].flatMap(([key, value]) => {
    const name = key.replace(/\[\d+\]$/, '');
    if (locked(name)) return [];
    const scale = scaleOf(name, value);
    if (scale !== null) return listSteps(key, value, scale, baseScore, evidence);
    const comment = knobs.get(name)?.comment ?? '';
    return findChoices(name, value, comment, program.source).map((choice) =>
      weighChoice(key, value, choice, baseScore, evidence),
    );
  });
}

/** What an untested move is worth: how often moves gain, times what they gain then. */
function novelty(key: string, { typicalGain, successShare }: Evidence): number {
  return typicalGain * successShare * (OFTEN_DECISIVE.test(key) ? DECISIVE_FACTOR : 1);
}

function weighChoice(key: string, now: Literal, choice: Literal, baseScore: number, evidence: Evidence): Move {
  const fresh = novelty(key, evidence);
  const effects = evidence.effects.get(key) ?? [];
  const there = effects.find(({ from, to }) => isSame(from, now) && isSame(to, choice));
  const back = effects.find(({ from, to }) => isSame(from, choice) && isSame(to, now));
  const known = there ?? (back && reverse(back));
  const worth = known ? revive(known, baseScore, fresh) : { expected: fresh, reason: 'not tried yet' };
  return { settings: [{ key, value: choice }], ...worth };
}

/** What going back would do, as far as the way there tells. */
function reverse({ from, to, gain, fromScore }: Effect): Effect {
  return { from: to, to: from, gain: gain === null ? null : -gain, fromScore: fromScore - (gain ?? 0) };
}

function listSteps(key: string, value: Literal, scale: Scale, baseScore: number, evidence: Evidence): Move[] {
  const around = evidence.neighbours.get(key) ?? [];
  const moves: Move[] = [];
  const add = (literal: Literal | null, expected: number, reason: string) => {
    if (literal) moves.push({ settings: [{ key, value: literal }], expected, reason });
  };
  for (const direction of [1, -1] as const) {
    const first = weighStep(key, value, direction, scale, baseScore, around, evidence);
    if (first) add(moveLiteral(value, scale, direction, first.size), first.expected, first.reason);
    for (const { size, share } of LATER_STEPS) {
      const isDead = around.some(({ tag, gain }) => tag === signOf(direction) && gain === null) && size > 1;
      if (!isDead) add(moveLiteral(value, scale, direction, size), share * evidence.typicalGain, `a step of ${size}`);
    }
  }
  const curve = fitCurve(value, scale, around);
  if (curve) add(curve.literal, CURVE_TRUST * curve.gain, 'lowest point of a curve through its neighbours');
  return moves;
}

function signOf(direction: Direction): string {
  return direction > 0 ? '+' : '-';
}

/** The usual step to one side; null when that side is known already. */
function weighStep(
  key: string,
  value: Literal,
  direction: Direction,
  scale: Scale,
  baseScore: number,
  around: readonly Neighbour[],
  evidence: Evidence,
) {
  const [here, opposite] = [signOf(direction), signOf(direction > 0 ? -1 : 1)];
  const fresh = novelty(key, evidence);
  const effects = evidence.effects.get(key) ?? [];
  const arrival = effects.find(({ to, gain }) => isSame(to, value) && gain !== null && gain > 0);
  const otherSide = around.find(({ tag }) => tag === opposite)?.gain ?? null;
  // A knob that only has to be on is not worth a second look at how far.
  if (arrival && isInert(otherSide)) return { size: 1, ...weighUntested(otherSide, fresh, evidence) };
  // From "off" the first value was a guess: a smaller one is as likely to be better as a larger one.
  if (arrival?.gain != null && numberOf(arrival.from) === 0 && here === '-' && scale !== 'count')
    return {
      size: 1,
      expected: FOLLOW * arrival.gain,
      reason: `between off and a gain of ${formatGain(arrival.gain)}`,
    };
  if (around.some(({ tag }) => tag === here)) return null;
  const tried = effects.find(({ from, to }) => isSame(from, value) && tagOf(from, to) === here);
  const back = effects.find(({ from, to }) => isSame(to, value) && tagOf(from, to) === opposite);
  const known = tried ?? (back && reverse(back));
  if (known) return { size: 1, ...revive(known, baseScore, fresh) };
  if (arrival?.gain != null && tagOf(arrival.from, arrival.to) === here) {
    // Sizes are followed step by step; tenths and ones would take too many runs that way.
    const size = scale === 'fraction' || scale === 'count' ? 2 : 1;
    return { size, expected: FOLLOW * arrival.gain, reason: `follows a gain of ${formatGain(arrival.gain)}` };
  }
  return { size: 1, ...weighUntested(otherSide, fresh, evidence) };
}

function isInert(gain: number | null): boolean {
  return gain !== null && Math.abs(gain) < INERT;
}

/** A side that was never tried. @param otherSide gain of the step to the other side; null: not known */
function weighUntested(otherSide: number | null, fresh: number, { typicalGain }: Evidence): Worth {
  if (otherSide === null) return { expected: fresh, reason: 'not tried yet' };
  if (isInert(otherSide)) return { expected: INERT_SHARE * fresh, reason: 'the other direction changed nothing' };
  // What hurts one way may help the other, the more so the more it hurts.
  const lost = Math.max(0, -otherSide) / typicalGain;
  return {
    expected: fresh * Math.min(1.3, 0.5 + lost),
    reason: `the other direction changed ${formatChange(otherSide)}`,
  };
}

/** What a move is worth that was tried from another base: what has changed since may have changed its effect. */
function revive({ gain, fromScore }: Effect, baseScore: number, fresh: number): Worth {
  if (gain === null) return { expected: 0, reason: 'gave no score before' };
  if (gain > 0) return { expected: ELSEWHERE_TRUST * gain, reason: `gained ${formatGain(gain)} from another variant` };
  const since = Math.max(0, fromScore - baseScore);
  const hope = Math.min(fresh, REVIVAL * since + gain);
  const expected = Math.max(hope, INERT_SHARE * fresh);
  return { expected, reason: `lost ${formatGain(-gain)} before ${formatGain(since)} was gained elsewhere` };
}

/** Lowest point of the parabola through the base and its nearest scored neighbour on each side. */
function fitCurve(
  value: Literal,
  scale: Scale,
  around: readonly Neighbour[],
): { literal: Literal; gain: number } | null {
  const number = numberOf(value);
  const origin = number === null ? null : coordinate(number, scale);
  if (number === null || origin === null) return null;
  const places = around.flatMap(({ at, gain }) =>
    at === null || gain === null ? [] : [{ x: at - origin, loss: -gain }],
  );
  const left = places.filter(({ x }) => x < 0).sort((a, b) => b.x - a.x)[0];
  const right = places.filter(({ x }) => x > 0).sort((a, b) => a.x - b.x)[0];
  if (!left || !right) return null;
  // loss(x) = a·x² + b·x through (0, 0) and both neighbours.
  const a = (left.loss / left.x - right.loss / right.x) / (left.x - right.x);
  const b = left.loss / left.x - a * left.x;
  if (!(a > 0)) return null;
  const best = -b / (2 * a);
  const literal = moveLiteral(value, scale, best > 0 ? 1 : -1, Math.abs(best));
  return literal && Math.abs(best) >= 0.1 ? { literal, gain: (b * b) / (4 * a) } : null;
}

/** Two losses that are no more than this share of a typical gain may be a gain together. */
const NEAR_MISS_SHARE = 0.1;
const MAX_PAIRED = 8;
const PAIR_SHARE = 0.05;

/** Pairs of moves that alone were near misses, or gains that the base does not have. */
export function listPairs(evidence: Evidence, sigma: number): Move[] {
  const { typicalGain, neighbours, effects } = evidence;
  const worst = -Math.max(2 * sigma, NEAR_MISS_SHARE * typicalGain);
  const near = [...neighbours.values()].flat().flatMap(({ setting, gain }) => {
    const isBack = effects
      .get(setting.key)
      ?.some(({ from, gain: paid }) => isSame(from, setting.value) && (paid ?? 0) > 0);
    return gain === null || gain < worst || Math.abs(gain) < INERT || isBack ? [] : [{ setting, gain }];
  });
  const parts = near.sort((a, b) => b.gain - a.gain).slice(0, MAX_PAIRED);
  return parts.flatMap((first, index) =>
    parts.slice(index + 1).flatMap((second) => {
      if (first.setting.key === second.setting.key) return [];
      const sum = first.gain + second.gain;
      const expected = Math.max(PAIR_SHARE * typicalGain + sum, ELSEWHERE_TRUST * sum, INERT_SHARE * typicalGain);
      const reason = `both alone changed little: ${formatChange(first.gain)} and ${formatChange(second.gain)}`;
      return [{ settings: [first.setting, second.setting], expected, reason }];
    }),
  );
}

function formatGain(gain: number): string {
  return gain.toPrecision(2);
}

function formatChange(gain: number): string {
  return `${gain < 0 ? '−' : '+'}${Math.abs(gain).toPrecision(2)}`;
}
