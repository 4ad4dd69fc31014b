import { choiceTag } from './choices.ts';
import { type Literal, numberOf } from './literals.ts';
import { coordinate, scaleOf } from './scale.ts';
import { differingKeys, type Point, type Setting } from './space.ts';

/** One finished run, as the proposer sees it. */
export interface Observation {
  readonly id: string;
  readonly point: Point;
  /** Null: it gave no score that counts. */
  readonly score: number | null;
  /** Id of the run that it was made from; null for the first. */
  readonly parentId: string | null;
}

/** What one change of one knob did somewhere. */
export interface Effect {
  readonly from: Literal;
  readonly to: Literal;
  /** Lower is better, so: score before minus score after; null when the run gave no score. */
  readonly gain: number | null;
  readonly fromScore: number;
}

/** A run that differs from the base in one knob alone. */
export interface Neighbour {
  readonly tag: string;
  readonly setting: Setting;
  /** Where the knob stands there, in steps of the base's scale; null for choices and failed places. */
  readonly at: number | null;
  /** Base score minus its score; null when it gave none. */
  readonly gain: number | null;
}

/** What is known, seen from one base. */
export interface Evidence {
  /** Knob → runs around the base along it. */
  readonly neighbours: ReadonlyMap<string, readonly Neighbour[]>;
  /** Knob → what changes of it did, from any parent, newest first. */
  readonly effects: ReadonlyMap<string, readonly Effect[]>;
  /** Mean of the gains found so far, and the share of moves that gained. */
  readonly typicalGain: number;
  readonly successShare: number;
}

/** A gain is expected to be about this share of the score, an expectation worth as much as so many gains. */
const EXPECTED_SHARE = 0.01;
const EXPECTED_WEIGHT = 2;
/** A gain must pass this many noises to be one. */
const CLEAR = 3;

/** Sorts what was observed by what it says about the surroundings of a base. */
export function gatherEvidence(
  base: Observation,
  baseScore: number,
  all: readonly Observation[],
  sigma: number,
): Evidence {
  const byId = new Map(all.map((observation) => [observation.id, observation]));
  const neighbours = new Map<string, Neighbour[]>();
  const effects = new Map<string, Effect[]>();
  const gains: number[] = [];
  let moves = 0;
  for (const run of all) {
    noteNeighbour(neighbours, base.point, baseScore, run);
    const parent = run.parentId === null ? undefined : byId.get(run.parentId);
    if (!parent || parent.score === null) continue;
    const [key, ...more] = differingKeys(parent.point, run.point) ?? [];
    const [from, to] = key === undefined ? [] : [parent.point.values.get(key), run.point.values.get(key)];
    if (key === undefined || !from || !to || more.length > 0) continue;
    const gain = run.score === null ? null : parent.score - run.score;
    effects.set(key, [{ from, to, gain, fromScore: parent.score }, ...(effects.get(key) ?? [])]);
    moves += 1;
    if (gain !== null && gain > CLEAR * sigma) gains.push(gain);
  }
  // A first tiny gain must not make everything that was never tried look as small.
  const expected = EXPECTED_SHARE * Math.abs(baseScore) * EXPECTED_WEIGHT;
  const typicalGain = gains.reduce((sum, gain) => sum + gain, expected) / (gains.length + EXPECTED_WEIGHT);
  return {
    neighbours,
    effects,
    typicalGain: Math.max(typicalGain, CLEAR * sigma),
    successShare: (1 + gains.length) / (3 + moves),
  };
}

function noteNeighbour(into: Map<string, Neighbour[]>, base: Point, baseScore: number, run: Observation): void {
  const [key, ...more] = differingKeys(base, run.point) ?? [];
  const value = key === undefined ? undefined : run.point.values.get(key);
  const here = key === undefined ? undefined : base.values.get(key);
  if (key === undefined || !here || !value || more.length > 0) return;
  const neighbour = {
    tag: tagOf(here, value),
    setting: { key, value },
    at: run.score === null ? null : placeOf(key, here, value),
    gain: run.score === null ? null : baseScore - run.score,
  };
  into.set(key, [...(into.get(key) ?? []), neighbour]);
}

/** The name of a move along a knob: `+`, `-` or `= "value"`. */
export function tagOf(from: Literal, to: Literal): string {
  const [before, after] = [numberOf(from), numberOf(to)];
  if (before !== null && after !== null) return after > before ? '+' : '-';
  return choiceTag(to);
}

/** Where a value stands on the scale that the knob has in the base. */
function placeOf(key: string, here: Literal, value: Literal): number | null {
  const scale = scaleOf(key.replace(/\[\d+\]$/, ''), here);
  const number = numberOf(value);
  return scale !== null && number !== null ? coordinate(number, scale) : null;
}
