import { draftFromOperator, type Worker } from '../../src/discovery/worker.ts';
import type { RunResult } from '../../src/worker/result.ts';
import { Chance } from './chance.ts';
import { type Field, ideasOf, roundScore } from './field.ts';

/** A kind of machine: its scores lie off the others' by the offset. */
export interface Tier {
  readonly name: string;
  /** Units of effect. */
  readonly offset: number;
  readonly memoryGb: number;
  /** Optimizer steps that it makes in the time of a run. */
  readonly steps: number;
}

const TIERS: readonly Tier[] = [
  { name: 'large', offset: 0, memoryGb: 40, steps: 900 },
  { name: 'xl', offset: -12, memoryGb: 80, steps: 1_100 },
  { name: 'medium', offset: 40, memoryGb: 24, steps: 430 },
];

/** Ways of lying: a score made up, an earlier good one, or the true one made better. */
export const LIES = ['fabricated', 'copied', 'shaved'] as const;
export type Lie = (typeof LIES)[number];

export interface MarketRules {
  readonly workers: number;
  /** Workers that lie, by every way in turn. */
  readonly liars: number;
  /** The first of them that agree on what they make up. */
  readonly colluding: number;
  /** Share of the machines that are of the first tier; the others are of two more in equal parts. */
  readonly largeShare: number;
  /** Share of its runs about which a liar lies. */
  readonly lieShare: number;
}

export interface Seller {
  readonly endpoint: string;
  readonly payTo: string;
  readonly worker: Worker;
  readonly priceAtomic: number;
  readonly tier: Tier;
  readonly lie: Lie | null;
  /** Liars of one ring tell the same about one program. */
  readonly ring: string;
}

/** A worker's answer, and whether it is made up. */
export interface Answer {
  readonly result: RunResult;
  readonly isLie: boolean;
}

/** Sellers of runs on machines of three tiers; every third honest owner has two of them. */
export class Market {
  readonly sellers: readonly Seller[];
  readonly #field: Field;
  readonly #chance: Chance;
  readonly #rules: MarketRules;
  /** Tier → the best score that an honest run had there, which copies are made of. */
  readonly #best = new Map<string, number>();

  constructor(field: Field, rules: MarketRules, seed: string, nowMs: number) {
    this.#field = field;
    this.#rules = rules;
    this.#chance = new Chance(`market ${seed}`);
    this.sellers = Array.from({ length: rules.workers }, (_, index) => this.#found(index, nowMs));
  }

  /** Liars stand first, at every tier alike, and need no machine: they ask less than the others. */
  #found(index: number, nowMs: number): Seller {
    const { liars, colluding } = this.#rules;
    const lie = index < liars ? (LIES[index % LIES.length] ?? null) : null;
    const isInRing = index < colluding;
    const owner = lie === null && index % 6 === 5 ? index - 1 : index;
    const endpoint = `https://worker-${index}.example/w`;
    const lot = this.#chance.uniform('tier', index);
    const [large, xl, medium] = TIERS;
    const tier =
      lot < this.#rules.largeShare || isInRing ? large : lot < (1 + this.#rules.largeShare) / 2 ? xl : medium;
    if (!tier) throw new RangeError('no tiers');
    return {
      endpoint,
      payTo: addressOf(owner),
      worker: { ...draftFromOperator(endpoint, nowMs), owner: addressOf(owner) },
      priceAtomic: Math.round((lie === null ? 45_000 : 40_000) + 15_000 * this.#chance.uniform('price', index)),
      tier,
      lie: isInRing ? 'fabricated' : lie,
      ring: isInRing ? 'ring' : endpoint,
    };
  }

  /** Runs a program at a seller. @param run tells this run from all others */
  answer(seller: Seller, source: string, run: string): Answer {
    const { job } = this.#field;
    const tier = { name: seller.tier.name, offset: seller.tier.offset * job.effect };
    const measured = this.#field.measure(source, tier, run);
    const isLie = seller.lie !== null && this.#chance.uniform('lies', run) < this.#rules.lieShare;
    const told = isLie && seller.lie ? this.#lie(seller, seller.lie, source, measured) : measured;
    if (!isLie && measured !== null)
      this.#best.set(tier.name, Math.min(this.#best.get(tier.name) ?? Number.POSITIVE_INFINITY, measured));
    return { result: toResult(told, seller, job.seconds), isLie: told !== measured };
  }

  #lie({ tier, ring }: Seller, lie: Lie, source: string, measured: number | null): number | null {
    const { job } = this.#field;
    const best = this.#best.get(tier.name) ?? job.baseline + tier.offset * job.effect;
    const program = ideasOf(source).join(' ');
    const size = this.#chance.uniform('lie', ring, program);
    const kind = this.#chance.uniform('kind of lie', ring, program);
    switch (lie) {
      case 'fabricated':
        return roundScore(best - (kind < 0.8 ? 1 + 7 * size : 20 + 40 * size) * job.seedNoise);
      case 'copied':
        return roundScore(best + (kind < 0.3 ? 0 : (size - 0.5) * 2e-5));
      case 'shaved':
        return measured === null ? null : roundScore(measured - (2 + 3 * size) * job.seedNoise);
    }
  }
}

function addressOf(owner: number): `0x${string}` {
  return `0x${owner.toString(16).padStart(40, '0')}`;
}

function toResult(valBpb: number | null, { tier }: Seller, seconds: number): RunResult {
  const isDone = valBpb !== null;
  return {
    status: isDone ? 'completed' : 'failed',
    returnCode: isDone ? 0 : 1,
    valBpb,
    durationSeconds: seconds,
    metrics: isDone ? { val_bpb: valBpb, num_steps: tier.steps, gpu_memory_gb: tier.memoryGb } : null,
    untrustedNote: null,
    flags: [],
  };
}
