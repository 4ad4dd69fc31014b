import { rememberPer } from '../base/memo.ts';
import { numberOf, parseLiteral } from './proposer/literals.ts';
import type { ChangeRun } from './think-facts.ts';

/** One constant that a variant changed, read back from its description. */
export interface KnobMove {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  /** Up or down for numbers; null for anything else. */
  readonly direction: '↑' | '↓' | null;
}

const MOVE = /(?:^|, )([A-Za-z_][\w.]*) (.+?) → (.+?)(?=, [A-Za-z_][\w.]* .+? → |, \+\d+ −\d+ lines|, \w+ := |$)/g;

/** The constants that a description names; a change of other lines is none. */
export function readMoves(description: string): KnobMove[] {
  return [...description.matchAll(MOVE)].flatMap(([, name, from, to]) => {
    if (name === undefined || from === undefined || to === undefined) return [];
    return [{ name, from, to, direction: directionOf(from, to) }];
  });
}

/** A change is looked at for several parts of the text. */
const recallMoves = rememberPer<ChangeRun, readonly KnobMove[]>();

function movesOf(change: ChangeRun): readonly KnobMove[] {
  return recallMoves(change, () => readMoves(change.description));
}

function directionOf(from: string, to: string): KnobMove['direction'] {
  const [before, after] = [parseLiteral(from), parseLiteral(to)];
  const [a, b] = [before && numberOf(before), after && numberOf(after)];
  if (a === null || b === null || a === b) return null;
  return b > a ? '↑' : '↓';
}

/** What moves of one constant in one direction gave. */
export interface DeadEnd {
  readonly what: string;
  readonly tries: number;
  readonly best: number | null;
  readonly crashes: number;
}

/** Moves of a single constant that never helped, those tried most often first. */
export function findDeadEnds(changes: readonly ChangeRun[]): DeadEnd[] {
  const ends = new Map<string, DeadEnd & { hasHelped: boolean }>();
  for (const change of changes) {
    const { score, verdict, role } = change;
    const [move, ...more] = movesOf(change);
    if (!move || more.length > 0 || role !== 'round' || verdict === null) continue;
    const what = `${move.name} ${move.direction ?? `→ ${move.to}`}`;
    const end = ends.get(what) ?? { what, tries: 0, best: null, crashes: 0, hasHelped: false };
    ends.set(what, {
      what,
      tries: end.tries + 1,
      best: score === null ? end.best : Math.min(end.best ?? score, score),
      crashes: end.crashes + (verdict === 'FAILED' ? 1 : 0),
      hasHelped: end.hasHelped || !['DISCARD', 'FAILED'].includes(verdict),
    });
  }
  return [...ends.values()]
    .filter(({ hasHelped }) => !hasHelped)
    .sort((a, b) => b.tries - a.tries || (a.what < b.what ? -1 : 1));
}

/** Values that were tried of one constant, alone, with the best score of each. */
export interface KnobCoverage {
  readonly name: string;
  readonly tried: readonly { readonly value: string; readonly score: number | null }[];
  /** Whether the best value lies at the end of the tried range: further on it may get better still. */
  readonly isAtEdge: boolean;
}

/** What is known of each constant. @param now constant → its value in the champion */
export function findCoverage(
  now: ReadonlyMap<string, string>,
  changes: readonly ChangeRun[],
  championScore: number | null,
): KnobCoverage[] {
  const tried = new Map<string, Map<string, number | null>>();
  for (const change of changes) {
    const { score } = change;
    const [move, ...more] = movesOf(change);
    if (!move || more.length > 0) continue;
    const values = tried.get(move.name) ?? new Map<string, number | null>();
    const best = values.get(move.to) ?? null;
    values.set(move.to, score === null ? best : Math.min(best ?? score, score));
    tried.set(move.name, values);
  }
  return [...now].map(([name, value]) => {
    const values = [...(tried.get(name) ?? [])].map(([spelled, score]) => ({ value: spelled, score }));
    return { name, tried: values, isAtEdge: isAtEdge([...values, { value, score: championScore }]) };
  });
}

function isAtEdge(values: readonly { value: string; score: number | null }[]): boolean {
  const points = values.flatMap(({ value, score }) => {
    const literal = parseLiteral(value);
    const number = literal && numberOf(literal);
    return number === null || score === null ? [] : [{ number, score }];
  });
  if (points.length < 2) return false;
  const best = points.reduce((a, b) => (b.score < a.score ? b : a));
  return points.every(({ number }) => number <= best.number) || points.every(({ number }) => number >= best.number);
}

/** Pairs of constants that alone came close or helped, and were never changed together. */
export function findUntriedPairs(changes: readonly ChangeRun[]): string[] {
  const promising = new Set<string>();
  const together = new Set<string>();
  for (const change of changes) {
    const { verdict } = change;
    const names = [...new Set(movesOf(change).map(({ name }) => name))].sort();
    if (names.length === 1 && names[0] !== undefined && (verdict === 'RETEST' || verdict === 'KEEP'))
      promising.add(names[0]);
    for (const [index, first] of names.entries())
      for (const second of names.slice(index + 1)) together.add(`${first} with ${second}`);
  }
  const names = [...promising].sort();
  return names.flatMap((first, index) =>
    names.slice(index + 1).flatMap((second) => {
      const pair = `${first} with ${second}`;
      return together.has(pair) ? [] : [pair];
    }),
  );
}
