import { Chance } from './chance.ts';

/** A training job whose truth is known. Scores are in bits per byte, effects in units of one `effect`. */
export interface Job {
  readonly name: string;
  /** Root source; ideas are named in its line `IDEAS`, the seed, where it has one, in its line `SEED`. */
  readonly source: string;
  /** True score of the unchanged script on a machine without offset. */
  readonly baseline: number;
  /** Size of one unit of effect. */
  readonly effect: number;
  /** Deviation between seeds, and between programs that are equally good. */
  readonly seedNoise: number;
  /** Deviation between runs of the same program on one tier. */
  readonly repeatNoise: number;
  /** Usual duration of a run, seconds. */
  readonly seconds: number;
}

const IDEAS = /^IDEAS = "([\d ]*)"$/m;
const SEED = /^(?:SEED = |torch\.manual_seed\()(\d+)/m;

const CRASHES = 0.04;
const NEAR_ZERO = 0.36;

/** The ideas of one campaign and what they are worth, alone and together: effects add up, in any order. */
export class Field {
  readonly job: Job;
  readonly #chance: Chance;

  constructor(job: Job, seed: string) {
    this.job = job;
    this.#chance = new Chance(`field ${seed}`);
  }

  /**
   * True gain of an idea in units of effect; null when its script crashes. Of the first ideas a quarter helps, of the
   * hundredth a ninth (16 % of the first hundred), by 1 to 10 units and the more the rarer; a third does next to
   * nothing; the rest harms, by 4.5 units in the mean.
   */
  worthOf(idea: number): number | null {
    const lot = this.#chance.uniform('kind', idea);
    const helping = 0.1 + 0.16 * Math.exp(-idea / 40);
    const size = this.#chance.exponential(1, 'size', idea);
    if (lot < CRASHES) return null;
    if (lot < CRASHES + helping) return Math.min(1 + 2 * size, 10);
    if (lot < CRASHES + helping + NEAR_ZERO) return 0.3 * this.#chance.normal('size', idea);
    return -(0.5 + 4 * size);
  }

  /** True score of a program without the offset of a machine; null when it crashes. */
  truthOf(source: string): number | null {
    let score = this.job.baseline;
    for (const idea of ideasOf(source)) {
      const worth = this.worthOf(idea);
      if (worth === null) return null;
      score -= worth * this.job.effect;
    }
    return score;
  }

  /**
   * What an honest run prints; null for a crash. A change of code draws like another seed.
   * @param tier machines of one tier draw alike  @param run tells this run from repeats of it
   */
  measure(source: string, tier: { readonly name: string; readonly offset: number }, run: string): number | null {
    const truth = this.truthOf(source);
    if (truth === null) return null;
    const luck = this.#chance.normal('seed', tier.name, ideasOf(source).join(' '), SEED.exec(source)?.[1] ?? '');
    const noise = this.job.seedNoise * luck + this.job.repeatNoise * this.#chance.normal('run', run);
    return roundScore(truth + tier.offset + noise);
  }
}

/** Scripts print six decimals. */
export function roundScore(score: number): number {
  return Math.round(score * 1e6) / 1e6;
}

/** The ideas that a program is made of. */
export function ideasOf(source: string): number[] {
  return [...(IDEAS.exec(source)?.[1] ?? '').matchAll(/\d+/g)].map(([idea]) => Number(idea));
}

/** A program with one idea more. */
export function withIdea(source: string, idea: number): string {
  return source.replace(IDEAS, `IDEAS = "${[...ideasOf(source), idea].join(' ')}"`);
}
