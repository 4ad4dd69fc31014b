import { describe, expect, it } from 'vitest';
import { compareScores } from './compare.ts';

const prior = { sigma: 5e-4, weight: 4 };
const noise = { variant: 5e-4, repeat: 1e-4 };
const runs = (seed: string | null, ...scores: readonly number[]) => scores.map((valBpb) => ({ seed, valBpb }));

describe('a comparison of means', () => {
  it('knows that repeats of one seed share its luck', () => {
    const champion = runs('42', 1);
    const once = compareScores(runs('42', 0.998), champion, noise, prior);
    const often = compareScores(runs('42', 0.998, 0.998, 0.998, 0.998), champion, noise, prior);
    const reseeded = compareScores(
      ['1', '2', '3', '4'].flatMap((seed) => runs(seed, 0.998)),
      champion,
      noise,
      prior,
    );
    expect(often.z).toBeLessThan(once.z * 1.05);
    expect(reseeded.z).toBeGreaterThan(once.z * 1.2);
  });

  it('counts every repeat where nothing but the repeat is noisy', () => {
    const same = { variant: 5e-4, repeat: 5e-4 };
    const often = compareScores(runs(null, 0.998, 0.998), runs(null, 1), same, prior);
    expect(often.z).toBeCloseTo(0.002 / (5e-4 * Math.sqrt(1 + 1 / 2)), 9);
  });

  it('gives each seed one voice, however often it ran', () => {
    const own = [...runs('1', 0.99, 0.99, 0.99), ...runs('2', 0.98)];
    expect(compareScores(own, runs('7', 1), noise, prior).delta).toBeCloseTo(0.015, 9);
  });

  it('does not throw away seeds that only the candidate ran for the sake of pairs', () => {
    const champion = ['1', '2'].flatMap((seed) => runs(seed, 1));
    const own = ['1', '2', '3'].flatMap((seed) => runs(seed, 0.99));
    expect(compareScores(own, champion, noise, prior).pairs).toBe(0);
    expect(compareScores(own.slice(0, 2), champion, noise, prior).pairs).toBe(2);
  });
});
