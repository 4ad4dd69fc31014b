import { describe, expect, it } from 'vitest';
import { scoredRun } from '../../test/scored-run.ts';
import { TaskSchema } from '../experiment/task-schema.ts';
import { KARPATHY } from '../experiment/tasks/karpathy.ts';
import { decideTitle, type TitleFacts } from './confirm.ts';
import { listDiscredited } from './credit.ts';
import { ANY_TIER, type ScoredRun } from './evidence.ts';
import { estimateFrom, findHomeTier, gatherEvidence } from './family.ts';
import { estimateNoise } from './noise.ts';
import { findTier } from './tier.ts';
import type { Title } from './titles.ts';

const TASK = TaskSchema.parse(KARPATHY);
const PRIOR = TASK.noisePrior;
let created = 0;

/** A run at a worker of its own name. @param idea the program, whose seed is another word */
function run(role: string, worker: string, idea: string, valBpb: number, more: Partial<ScoredRun> = {}): ScoredRun {
  created += 1;
  const seed = more.seed ?? '42';
  return scoredRun({
    experimentId: `exp-${created}`,
    loopId: 'loop',
    trainHash: `${idea} ${seed}`,
    variantHash: `${idea} ${seed}`,
    family: idea,
    seed,
    role,
    valBpb,
    endpoint: `https://${worker}.example`,
    payTo: worker,
    createdAtMs: created,
    updatedAtMs: created,
    ...more,
  });
}

function titleOf({ experimentId, variantHash }: ScoredRun): Title {
  const place = { scope: 'loop', seq: 1, rootHash: 'root', createdAtMs: 0 };
  return { ...place, experimentId, variantHash, verified: true, cause: 'baseline' };
}

function decide(runs: readonly ScoredRun[], more: Partial<TitleFacts> = {}) {
  const titles = runs.flatMap((first) => (first.verdict === 'BASELINE' ? [titleOf(first)] : []));
  const alone = { unconfirmable: new Set<string>(), refused: new Set<string>() };
  return decideTitle({ task: TASK, loopId: 'loop', runs, titles, ...alone, ...more });
}

const BASELINE = run('baseline', 'ann', 'base', 1, { verdict: 'BASELINE' });
/** Runs by which four parties are known. */
const CROWD = ['bob', 'cid', 'dan', 'eve'].map((worker) => run('round', worker, worker, 1.01));

describe('a title', () => {
  const found = run('round', 'bob', 'idea', 0.99, { verdict: 'KEEP' });
  const reseeded = run('retest', 'bob', 'idea', 0.99, { verdict: 'KEEP', seed: '43' });

  it('is not won by another seed on the worker that claims the gain', () => {
    expect(decide([BASELINE, found, reseeded])).toBeNull();
    const elsewhere = run('confirmation', 'cid', 'idea', 0.99, { verdict: 'KEEP' });
    expect(decide([BASELINE, found, reseeded, elsewhere])).toMatchObject({ verified: true, cause: 'confirmed' });
    // Where nobody else is found, another seed is all there is.
    expect(decide([BASELINE, found, reseeded], { refused: new Set([found.experimentId]) })).toMatchObject({
      cause: 'confirmed',
    });
  });

  it('needs a second voice in a large market: two may belong together', () => {
    const accomplice = run('confirmation', 'cid', 'idea', 0.99, { verdict: 'KEEP' });
    const stranger = run('confirmation', 'dan', 'idea', 0.99, { verdict: 'KEEP', seed: '43' });
    const market = [BASELINE, ...CROWD, found, accomplice];
    expect(decide(market)).toBeNull();
    expect(decide([...market, stranger])).toMatchObject({ experimentId: found.experimentId });
    expect(decide([...market, { ...stranger, valBpb: 1.0004 }])).toBeNull();
  });

  it('does not rest on the best of its fresh runs alone', () => {
    const great = run('confirmation', 'cid', 'idea', 0.9975, { verdict: 'KEEP' });
    const none = run('confirmation', 'dan', 'idea', 0.9999, { verdict: 'DISCARD', seed: '43' });
    expect(decide([BASELINE, ...CROWD, { ...found, valBpb: 0.9975 }, great, none])).toBeNull();
  });
});

describe('a market of several tiers', () => {
  const large = run('baseline', 'ann', 'base', 1, { verdict: 'BASELINE', tier: 'large' });
  const found = run('round', 'bob', 'idea', 0.99, { verdict: 'KEEP', tier: 'large' });
  const voice = run('confirmation', 'cid', 'idea', 0.99, { verdict: 'KEEP', tier: 'large', seed: '43' });
  const again = run('confirmation', 'cid', 'idea', 0.99, { verdict: 'KEEP', tier: 'large', seed: '44' });
  const elsewhere = run('confirmation', 'dan', 'idea', 0.9, { tier: 'xl', verdict: 'RETEST' });

  it('has no voice for a gain where the champion never ran', () => {
    const market = [large, ...CROWD, found, voice, again];
    expect(decide([...market, elsewhere])).toBeNull();
    expect(decide([...market, { ...elsewhere, tier: 'large', valBpb: 0.99 }])).toMatchObject({ cause: 'confirmed' });
  });

  it('gives no title back and forth between two that each seem better somewhere', () => {
    const other = run('round', 'eve', 'other', 0.98, { verdict: 'KEEP', tier: 'large' });
    const confirm = (worker: string, idea: string, tier: string, valBpb: number, seed: string) =>
      run('confirmation', worker, idea, valBpb, { tier, seed });
    const better = [confirm('bob', 'other', 'large', 0.98, '43'), confirm('dan', 'other', 'large', 0.98, '44')];
    const worse = [confirm('dan', 'idea', 'xl', 0.9, '43'), confirm('eve', 'idea', 'xl', 0.9, '44')];
    const runs = [large, ...CROWD, found, voice, other, ...better, confirm('cid', 'other', 'xl', 0.95, '45'), ...worse];
    const titles = [large, other, found].map((of, index) => ({ ...titleOf(of), seq: index + 1 }));
    expect(decide(runs, { titles: titles.slice(0, 1) })).toMatchObject({ experimentId: other.experimentId });
    expect(decide(runs, { titles })).toBeNull();
  });
});

describe('evidence', () => {
  it('leaves out what a worker says that others contradicted elsewhere', () => {
    const quarrel = ['bob', 'cid', 'dan'].map((worker, index) => run('audit', worker, 'x', index === 0 ? 0.95 : 1));
    const found = run('round', 'eve', 'idea', 0.99, { verdict: 'KEEP' });
    const lie = run('confirmation', 'bob', 'idea', 0.98, { seed: '43' });
    const truth = run('confirmation', 'cid', 'idea', 0.99, { seed: '44' });
    const runs = [BASELINE, ...quarrel, found, lie, truth];
    expect([...listDiscredited(runs, PRIOR)]).toEqual(['https://bob.example']);
    expect(gatherEvidence(found, runs, TASK).fresh).toEqual([truth]);
  });

  it('does not count the luck of the seed by which an idea was found once others have run', () => {
    const found = run('round', 'bob', 'idea', 0.99, { verdict: 'KEEP' });
    const same = run('confirmation', 'cid', 'idea', 0.99);
    const others = ['43', '44'].map((seed) => run('confirmation', 'dan', 'idea', 0.992, { seed }));
    expect(estimateFrom(gatherEvidence(found, [found, same], TASK))).toEqual([same]);
    expect(estimateFrom(gatherEvidence(found, [found, same, ...others], TASK))).toEqual(others);
  });

  it('of a champion on several tiers is looked for where most workers are', () => {
    const champion = [run('baseline', 'ann', 'base', 1, { tier: 'xl' }), run('audit', 'bob', 'base', 1.1)];
    expect(findHomeTier(champion, [...champion, ...CROWD])).toBe(ANY_TIER);
    expect(findHomeTier([], CROWD)).toBeNull();
  });
});

it('measures noise beside liars: what they say is left out of it', () => {
  const honest = ['a', 'b', 'c', 'd', 'e', 'f'].flatMap((idea, index) =>
    ['42', '43'].map((seed) => run('round', 'ann', idea, 1 + (seed === '42' ? 0 : index / 5_000), { seed })),
  );
  const lies = ['g', 'h'].flatMap((idea) => [
    run('round', 'bob', idea, 0.96),
    run('retest', 'cid', idea, 1, { seed: '43' }),
  ]);
  const { variant } = estimateNoise(honest, PRIOR);
  expect(estimateNoise([...honest, ...lies], PRIOR).variant).toBeCloseTo(variant, 12);
  expect(variant).toBeGreaterThan(PRIOR.sigma / 2);
});

it('takes a larger machine for no faster one of its own tier', () => {
  const large = { gpu_memory_gb: 40 };
  const runs = ['v1', 'v2', 'v3'].flatMap((idea) => [
    run('round', 'ann', idea, 1, { tier: 'large', steps: 900 }),
    run('audit', 'bob', idea, 1, { tier: 'medium', steps: 430 }),
  ]);
  expect(findTier(large, 'https://ann.example', runs)).toBe('large');
});
