import { type Sha256, sha256 } from '../../base/hash.ts';
import { hashVariant } from '../../experiment/variant.ts';
import { isRuleOfTheGame } from '../knobs.ts';
import { gatherEvidence, type Observation } from './evidence.ts';
import { numberOf } from './literals.ts';
import { listPairs, listSingleMoves, type Move } from './moves.ts';
import { applySettings, differingKeys, type Point, type Program, readPoint, type Setting } from './space.ts';

export interface ProposerInput {
  /** What is built on: usually the champion. */
  readonly base: { readonly program: Program; readonly observation: Observation; readonly score: number };
  /** Finished runs, oldest first, the base among them. */
  readonly observations: readonly Observation[];
  /** Hashes of every variant that ran, runs or waits. */
  readonly taken: ReadonlySet<string>;
  /** Variants that run or wait: what they test is not tested a second time beside them. */
  readonly pending: readonly Point[];
  /** Noise of one run, in units of the score. */
  readonly sigma: number;
  /** Constants that are rules of the game; null: not known, then names that look like it are left alone. */
  readonly locked: ReadonlySet<string> | null;
  /** Values that a knob may have, both ends included. */
  readonly ranges: Readonly<Record<string, { readonly min: number; readonly max: number }>>;
  /** Breaks ties: the same seed and history give the same proposals. */
  readonly seed: string;
  readonly count: number;
}

/** A variant that the proposer wants to run. */
export interface AutoProposal {
  readonly program: Program;
  readonly variantHash: Sha256;
  readonly hypothesis: string;
}

/** A knob that is being tested already is left for later, unless nothing else is worth much. */
const SAME_KNOB_FACTOR = 0.3;
/** How far ties are spread by chance. */
const TIE_SPREAD = 0.1;

/**
 * Designs the next experiments without a model: one knob at a time from the base, gains followed in their direction,
 * what hurt before a large change tried again after it, near misses paired, then ever finer steps around the base.
 * Candidates are compared by the gain that they are expected to bring.
 * @returns at most `count`; fewer, or none, when nothing is left that was not tried
 */
export function propose(input: ProposerInput): AutoProposal[] {
  const { base, observations, sigma } = input;
  const { point } = base.observation;
  const evidence = gatherEvidence(base.observation, base.score, observations, sigma);
  const locked = (name: string) => input.locked?.has(name) ?? isRuleOfTheGame(name);
  const moves = [
    ...listSingleMoves(base.program, point, base.score, evidence, locked),
    ...listPairs(evidence, sigma),
  ].filter(({ settings }) => settings.every((setting) => isInRange(setting, input.ranges)));
  const ranked = moves
    .map((move) => ({ ...move, rank: move.expected * (1 + TIE_SPREAD * chance(input.seed, move)) }))
    .sort((a, b) => b.rank - a.rank);
  return pick(ranked, input);
}

type RankedMove = Move & { readonly rank: number };

/** Takes the best that is new, one after the other, each from a knob that no other tests at the same time if possible. */
function pick(ranked: readonly RankedMove[], { base, taken, pending, count }: ProposerInput): AutoProposal[] {
  const busy = new Set(pending.flatMap((point) => differingKeys(base.observation.point, point) ?? []));
  const used = new Set(taken);
  const picked: AutoProposal[] = [];
  let left = ranked;
  while (picked.length < count && left.length > 0) {
    const weight = ({ rank, settings }: RankedMove) =>
      settings.some(({ key }) => busy.has(key)) ? rank * SAME_KNOB_FACTOR : rank;
    const best = left.reduce((a, b) => (weight(b) > weight(a) ? b : a));
    left = left.filter((move) => move !== best);
    const proposal = toProposal(base.program, best);
    if (!proposal || used.has(proposal.variantHash)) continue;
    used.add(proposal.variantHash);
    for (const { key } of best.settings) busy.add(key);
    picked.push(proposal);
  }
  return picked;
}

function toProposal(program: Program, move: Move): AutoProposal | null {
  const changed = applySettings(program, move.settings);
  // A change that cannot be read back is none: the line was not what it seemed to be.
  const keys = differingKeys(readPoint(program), readPoint(changed));
  if (keys?.length !== move.settings.length) return null;
  const variantHash = hashVariant(sha256(changed.source), changed.config);
  return { program: changed, variantHash, hypothesis: `${move.reason}; expected gain ${move.expected.toPrecision(2)}` };
}

function isInRange({ key, value }: Setting, ranges: ProposerInput['ranges']): boolean {
  const range = Object.hasOwn(ranges, key) ? ranges[key] : undefined;
  const number = numberOf(value);
  return !range || number === null || (number >= range.min && number <= range.max);
}

/** A number from 0 to 1 that depends on seed and move alone. */
function chance(seed: string, { settings }: Move): number {
  const hex = sha256(JSON.stringify([seed, settings])).slice(-8);
  return Number.parseInt(hex, 16) / 0xffff_ffff;
}
