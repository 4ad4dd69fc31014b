import { createHash } from 'node:crypto';

/** Chance by name: the same seed and words give the same number, whatever was drawn before. */
export class Chance {
  readonly #seed: string;

  constructor(seed: string) {
    this.#seed = seed;
  }

  /** From 0 up to, without, 1. */
  uniform(...words: readonly (string | number)[]): number {
    const digest = createHash('sha256')
      .update(`${this.#seed} ${words.join(' ')}`)
      .digest();
    return digest.readUIntBE(0, 6) / 2 ** 48;
  }

  /** Mean 0, deviation 1. */
  normal(...words: readonly (string | number)[]): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform('radius', ...words)));
    return radius * Math.cos(2 * Math.PI * this.uniform('angle', ...words));
  }

  /** From 0, the rarer the larger. */
  exponential(mean: number, ...words: readonly (string | number)[]): number {
    return -mean * Math.log(1 - this.uniform(...words));
  }
}
