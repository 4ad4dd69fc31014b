import { describe, expect, it } from 'vitest';
import { scoredRun } from '../../test/scored-run.ts';
import { findTask } from '../experiment/task.ts';
import type { ScoredRun } from './evidence.ts';
import { canWait, countPatience } from './extra-wait.ts';
import { estimateFrom, gatherEvidence } from './family.ts';
import { splitRepeats } from './noise.ts';

const SIGMA = 5e-4;
const TASK = { ...findTask('print("val_bpb:", 1)\n'), noisePrior: { sigma: SIGMA, weight: 4 } };
let clock = 0;

/** A run on a worker; its score in σ above 1. */
function run(worker: string, score: number, more: Partial<ScoredRun> = {}): ScoredRun {
  clock += 1;
  return scoredRun({
    experimentId: `exp-${clock}`,
    loopId: 'loop',
    role: 'audit',
    valBpb: 1 + score * SIGMA,
    endpoint: `https://${worker}.example`,
    payTo: worker,
    createdAtMs: clock,
    updatedAtMs: clock,
    ...more,
  });
}

const rounds = (...ends: readonly (number | null)[]) =>
  ends.map((finishedAtMs) => ({ role: 'round' as const, finishedAtMs }));

describe('the confirmation of a finding', () => {
  const runs = [run('ann', 0, { verdict: 'BASELINE' }), run('bob', 0.1)];
  const found = run('ann', -5);
  const facts = { runs, task: TASK, patience: countPatience(2, false) };

  it('waits for three waves of rounds that ended after it', () => {
    const six = rounds(1, 11, 12, 13, 14, 15, 16);
    expect(canWait({ ...facts, experiments: six.slice(0, -1) }, found, 10)).toBe(true);
    expect(canWait({ ...facts, experiments: six }, found, 10)).toBe(false);
    expect(canWait({ ...facts, experiments: [...six.slice(0, -1), ...rounds(null)] }, found, 10)).toBe(true);
    const extras = six.map((round) => ({ ...round, role: 'retest' as const }));
    expect(canWait({ ...facts, experiments: extras }, found, 10)).toBe(true);
  });

  it('waits for nothing at the end', () => {
    expect(canWait({ ...facts, patience: countPatience(2, true), experiments: [] }, found, 10)).toBe(false);
  });

  it('does not wait where nobody vouches for the worker, or anybody was caught lying', () => {
    expect(canWait({ ...facts, experiments: [] }, run('eve', -5), 10)).toBe(false);
    const lie = run('eve', -60);
    expect(canWait({ ...facts, runs: [...runs, run('cid', 0.2), lie], experiments: [] }, found, 10)).toBe(false);
  });
});

describe('repeats of one program', () => {
  it('leave out what lies near one of many but far from the middle of all', () => {
    const honest = [run('ann', 0.7), run('bob', 0.5), run('cid', -0.4), run('dan', 0.2)];
    const shaved = run('eve', -2.6);
    expect(splitRepeats([...honest, shaved], 0.5 * SIGMA)).toMatchObject({ odd: [shaved], isOpen: false });
    expect(splitRepeats(honest, 0.5 * SIGMA).odd).toEqual([]);
  });

  it('on three workers that all say different things are scattered, and no two sides', () => {
    const split = splitRepeats([run('ann', 0), run('bob', -11), run('cid', 13)], SIGMA);
    expect(split).toMatchObject({ isScattered: true, isOpen: false, odd: [] });
    expect(splitRepeats([run('ann', 0), run('bob', 1), run('cid', 13)], SIGMA).isScattered).toBe(false);
  });
});

const byAge = (a: ScoredRun, b: ScoredRun) => a.createdAtMs - b.createdAtMs;

describe('the score of a variant', () => {
  const found = run('ann', -5, { role: 'round', verdict: 'KEEP', family: 'idea', variantHash: 'idea 42' });
  const fresh = (worker: string, score: number, seed: string) =>
    run(worker, score, { role: 'confirmation', verdict: 'KEEP', family: 'idea', seed, variantHash: `idea ${seed}` });
  const heard = [fresh('bob', -5, '43'), fresh('cid', -4, '44'), fresh('dan', -7, '45')];

  it('is told by all who ran it as long as nobody was caught', () => {
    expect(estimateFrom(gatherEvidence(found, [found, ...heard], TASK))).toEqual(heard);
  });

  it('is told without the best voice once somebody was, and of five or more without the worst, on each tier', () => {
    const lie = run('eve', -60);
    const caught = [lie, run('fay', 0), run('gil', 0)];
    expect(estimateFrom(gatherEvidence(found, [...caught, found, ...heard], TASK)).toSorted(byAge)).toEqual(
      heard.slice(0, 2),
    );
    const two = heard.slice(0, 2);
    expect(estimateFrom(gatherEvidence(found, [...caught, found, ...two], TASK))).toEqual(two);
    const more = [fresh('hal', -6, '46'), fresh('ian', -5.5, '47')];
    const five = gatherEvidence(found, [...caught, found, ...heard, ...more], TASK);
    expect(new Set(estimateFrom(five))).toEqual(new Set([heard[0], ...more]));
    const elsewhere = { ...fresh('joe', -9, '48'), tier: 'xl' };
    const tiers = gatherEvidence(found, [...caught, found, ...heard, elsewhere], TASK);
    expect(new Set(estimateFrom(tiers))).toEqual(new Set([...two, elsewhere]));
  });

  it('is not settled while three seeds say three different things', () => {
    const far = [fresh('bob', 4, '43'), fresh('cid', -14, '44'), fresh('dan', -5, '45')];
    expect(gatherEvidence(found, [found, ...far], TASK).isSplit).toBe(true);
    expect(gatherEvidence(found, [found, ...heard], TASK).isSplit).toBe(false);
  });
});
