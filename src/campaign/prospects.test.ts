import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scoredRun } from '../../test/scored-run.ts';
import { findTask } from '../experiment/task.ts';
import type { ScoredRun } from './evidence.ts';
import { findLeader, listMissed, rankFindings, rankProspects } from './prospects.ts';
import type { Title } from './titles.ts';

const SIGMA = 5e-4;
const TASK = { ...findTask('print("val_bpb:", 1)\n'), noisePrior: { sigma: SIGMA, weight: 4 } };
let clock = 0;

/** A run of an idea on a worker; its score in σ below the baseline. */
function run(idea: string, worker: string, gain: number, more: Partial<ScoredRun> = {}): ScoredRun {
  clock += 1;
  return scoredRun({
    experimentId: `exp-${clock}`,
    loopId: 'loop',
    trainHash: idea,
    variantHash: idea,
    parentVariantHash: 'base',
    family: idea,
    role: 'round',
    valBpb: 1 - gain * SIGMA,
    endpoint: `https://${worker}.example`,
    payTo: worker,
    createdAtMs: clock,
    updatedAtMs: clock,
    ...more,
  });
}

const BASELINE = run('base', 'ann', 0, { role: 'baseline', verdict: 'BASELINE' });
const AGAIN = run('base', 'bob', 0, { role: 'audit', auditOf: BASELINE.experimentId });
const TITLE: Title = {
  scope: 'loop',
  seq: 1,
  rootHash: 'root',
  experimentId: BASELINE.experimentId,
  variantHash: 'base',
  verified: true,
  cause: 'baseline',
  createdAtMs: 0,
};

function rank(...runs: readonly ScoredRun[]) {
  const all = [BASELINE, AGAIN, ...runs];
  return rankProspects({ task: TASK, loopId: 'loop', runs: all, titles: [TITLE] });
}

describe('a prospect', () => {
  it('is expected to be worth less than was measured, and the rarer it is the nearer to it', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.5, max: 300, noNaN: true }), (measured) => {
        const gain = (rank(run('idea', 'ann', measured))[0]?.gain ?? Number.NaN) / SIGMA;
        expect(gain).toBeLessThan(measured);
        expect(gain).toBeGreaterThan(0.5 * measured - 1);
        expect(measured - gain).toBeLessThan(3);
      }),
    );
  });

  it('with the better score of two ideas of one parent is the better one', () => {
    const score = fc.double({ min: -50, max: 50, noNaN: true });
    fc.assert(
      fc.property(score, score, (a, b) => {
        fc.pre(Math.abs(a - b) > 0.01);
        const [best] = rank(run('a', 'ann', a), run('b', 'bob', b));
        expect(best?.run.family).toBe(a > b ? 'a' : 'b');
      }),
    );
  });

  it('made from a good one is expected to be good', () => {
    const parent = run('parent', 'ann', 6);
    const [first, second] = rank(
      parent,
      run('child', 'bob', 5, { parentVariantHash: 'parent' }),
      run('alone', 'bob', 5),
    ).filter(({ run: { family } }) => family !== 'parent');
    expect([first?.run.family, second?.run.family]).toEqual(['child', 'alone']);
    expect(first?.ownGain).toBeLessThan(0);
    expect(second?.ownGain).toBeGreaterThan(0);
  });

  it('is told by fresh runs rather than by the one that found it', () => {
    const found = run('idea', 'ann', 6);
    const fresh = run('idea', 'bob', -1, {
      role: 'confirmation',
      auditOf: found.experimentId,
      seed: '43',
      variantHash: 'x',
    });
    expect(findLeader(rank(found))?.run).toBe(found);
    expect(findLeader(rank(found, fresh))).toBeUndefined();
  });

  it('is none where nobody else vouches for its worker, or it ran where the champion did not', () => {
    const claim = run('idea', 'eve', 6);
    expect(rank(claim)).toEqual([]);
    // What is to be confirmed first is told by what it is expected to bring, whoever says so.
    const findings = rankFindings({ task: TASK, loopId: 'loop', runs: [BASELINE, AGAIN, claim], titles: [TITLE] });
    expect(findings).toMatchObject([{ run: claim, isVouchedFor: false }]);
    expect(findings[0]?.gain).toBeLessThan(6 * SIGMA);
    expect(rank(run('idea', 'ann', 6, { tier: 'xl' }))).toEqual([]);
  });

  it('is none after a lie before somebody else has said the same', () => {
    const lies = ['cid', 'dan'].map((worker) => run('other', worker, 0, { role: 'audit' }));
    const lie = run('other', 'eve', 40);
    const found = run('idea', 'ann', 6);
    expect(rank(lie, ...lies, found).map((prospect) => prospect.run.family)).not.toContain('idea');
    const second = run('idea', 'bob', 6, { role: 'confirmation', auditOf: found.experimentId });
    expect(rank(lie, ...lies, found, second)[0]?.run.family).toBe('idea');
  });

  it('is no repeat, no run of another loop and not the champion', () => {
    expect(rank(run('idea', 'ann', 6, { role: 'audit' }), run('idea', 'ann', 6, { loopId: 'other' }))).toEqual([]);
    expect(rankProspects({ task: TASK, loopId: 'loop', runs: [], titles: [] })).toEqual([]);
  });
});

describe('an idea that was missed', () => {
  const missed = (...runs: readonly ScoredRun[]) => {
    const facts = { task: TASK, loopId: 'loop', runs: [BASELINE, AGAIN, ...runs], titles: [TITLE] };
    return listMissed(facts, rankProspects(facts)).map((prospect) => prospect.run.family);
  };

  it('helps and is neither in what is built on nor was it tried beside that', () => {
    const leader = run('leader', 'ann', 9);
    const child = run('child', 'bob', 13, { parentVariantHash: 'leader' });
    const late = run('late', 'bob', 5);
    const bad = run('bad', 'ann', -5);
    const grandchild = run('grandchild', 'bob', 15, { parentVariantHash: 'child' });
    expect(missed(leader, child, late, bad)).toEqual(['late']);
    expect(missed(leader, child, late, bad, grandchild)).toEqual(['late']);
    expect(missed(late)).toEqual([]);
  });

  it('is told apart by its config where the source is the same', () => {
    const config = { trainHash: 'base' };
    const leader = run('leader', 'ann', 9, config);
    const child = run('child', 'bob', 13, { ...config, parentVariantHash: 'leader' });
    const late = run('late', 'bob', 5, config);
    expect(missed(leader, child, late)).toEqual(['late']);
    expect(rank(leader, child, late).map((prospect) => Math.sign(prospect.ownGain))).toEqual([1, 1, 1]);
  });

  it('is not what a base was made from that ran again with another seed', () => {
    const early = run('early', 'ann', 5);
    const leader = run('leader', 'ann', 9, { parentVariantHash: 'early' });
    const again = run('leader', 'bob', 9, { role: 'confirmation', variantHash: 'leader 43', seed: '43' });
    const reseeded = { ...again, parentVariantHash: 'leader' };
    const child = run('child', 'bob', 14, { parentVariantHash: 'leader 43' });
    expect(missed(early, leader, reseeded, child)).toEqual([]);
  });
});
