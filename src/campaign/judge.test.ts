import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scoredRun } from '../../test/scored-run.ts';
import { findTask, UNKNOWN_TASK } from '../experiment/task.ts';
import type { RunResult } from '../worker/result.ts';
import { ANY_TIER, type ScoredRun } from './evidence.ts';
import { type Champion, type JudgeFacts, judgeRun } from './judge.ts';
import { expectLuck, poolSigma } from './noise.ts';
import { findImplausible, readTokensPerStep } from './plausibility.ts';
import { findTier } from './tier.ts';

const BASELINE = { 42: 2.140591, 1: 2.186793, 2: 2.18008, 3: 2.168599, 4: 2.160465, 5: 2.118156 };
const BATCH_256 = { 42: 2.033001, 1: 2.075923, 2: 2.068733, 3: 2.02414, 4: 2.031052, 5: 2.030483 };
const WARMDOWN = { 42: 2.217351, 1: 2.27248, 2: 2.240574, 3: 2.228419, 4: 2.225656, 5: 2.175139 };
/** Seed noise of the job, as measured over its six seeds. */
const SIGMA = 0.0258;
const NUMPY = findTask(readFileSync(new URL('../localnet/examples/train_numpy.py', import.meta.url), 'utf8'));

function runOf(valBpb: number, more: Partial<ScoredRun> = {}): ScoredRun {
  const id = `exp-20260101-${Math.abs(Math.round(valBpb * 1e12))
    .toString(16)
    .padStart(16, '0')}`;
  return scoredRun({ experimentId: id, verdict: 'BASELINE', valBpb, payTo: '0xa', ...more });
}

function championOf(evidence: readonly ScoredRun[]): Champion {
  const valBpb = evidence.reduce((sum, run) => sum + run.valBpb, 0) / evidence.length;
  return {
    experimentId: 'exp-20260101-00000000000000aa',
    valBpb,
    runs: evidence.length,
    sourceLines: 200,
    verified: false,
    trainHash: 'base',
    variantHash: 'base',
    family: 'base',
    evidence,
  };
}

const seeds = (scores: Record<string, number>, more: Partial<ScoredRun> = {}) =>
  Object.entries(scores).map(([seed, valBpb]) => runOf(valBpb, { seed, variantHash: `base ${seed}`, ...more }));

function resultOf(valBpb: number | null, metrics: RunResult['metrics'] = null): RunResult {
  return { status: 'completed', returnCode: 0, valBpb, durationSeconds: 6, metrics, untrustedNote: null, flags: [] };
}

function judge(valBpb: number, champion: Champion | null, more: Partial<JudgeFacts> = {}) {
  return judgeRun({
    task: NUMPY,
    run: resultOf(valBpb),
    worker: { endpoint: 'https://a.example', payTo: '0xa' },
    evidence: { family: 'new', seed: '42', tier: ANY_TIER, dataHash: null, steps: null, lines: 200 },
    trainHash: 'new',
    variantHash: 'new',
    wallSeconds: 7,
    tokensPerStep: null,
    sourceLines: 200,
    runs: champion?.evidence ?? [],
    earlier: [],
    isFresh: false,
    noise: { repeat: SIGMA, variant: SIGMA, repeats: 5 },
    champion,
    ...more,
  });
}

describe('verdicts about the numpy job, the champion being six runs of its baseline', () => {
  const champion = championOf(seeds(BASELINE));

  it.each([
    ['beta2 0.999, although it wins on its own seed', 2.138646, 0.7, 'DISCARD'],
    ['relu', 2.156045, 0.1, 'DISCARD'],
    ['DEPTH 1', 2.108019, 1.8, 'RETEST'],
    ['batch 512', 2.066481, 3.3, 'KEEP'],
    ['batch 256', 2.033001, 4.5, 'KEEP'],
    ['tanh', 2.301971, -5.1, 'DISCARD'],
  ])('%s: %d has z %d and is %s', (_name, valBpb, z, verdict) => {
    const judgement = judge(valBpb, champion);
    expect(judgement.verdict).toBe(verdict);
    expect(judgement.z).toBeCloseTo(z, 1);
    expect(judgement.because).toContain(`z ${z.toFixed(1)}`);
  });

  it('asks again for batch 256 when only one baseline run is known: z 2.95', () => {
    const judgement = judge(2.033001, championOf([runOf(2.140591)]));
    expect(judgement).toMatchObject({ verdict: 'RETEST', championId: champion.experimentId });
    expect(judgement.z).toBeCloseTo(2.95, 2);
  });

  it('discards batch 128 after batch 256', () => {
    const judgement = judge(2.034319, championOf([runOf(2.033001, { family: '256' })]), { sourceLines: 200 });
    expect(judgement).toMatchObject({ verdict: 'DISCARD' });
    expect(judgement.delta).toBeCloseTo(-0.0013, 4);
  });

  it('keeps simpler code that is no worse than noise, and no other', () => {
    expect(judge(2.17, champion, { sourceLines: 190 })).toMatchObject({ verdict: 'KEEP-SIMPLER' });
    expect(judge(2.19, champion, { sourceLines: 190 })).toMatchObject({ verdict: 'DISCARD' });
  });

  it('compares seed by seed as soon as two seeds are shared', () => {
    const own = seeds(BATCH_256, { family: 'new' });
    const judgement = judge(BATCH_256[5], champion, {
      evidence: { family: 'new', seed: '5', tier: ANY_TIER, dataHash: null, steps: null, lines: 200 },
      earlier: own.filter(({ seed }) => seed !== '5'),
    });
    expect(judgement.verdict).toBe('KEEP');
    expect(judgement.delta).toBeCloseTo(0.1152, 4);
    expect(judgement.because).toContain('6 paired seeds');
    const worse = seeds(WARMDOWN, { family: 'new' });
    expect(judge(WARMDOWN[42], champion, { earlier: worse.slice(1) })).toMatchObject({ verdict: 'DISCARD' });
  });

  it('asks fresh runs alone of a would-be champion, and z 2 of them', () => {
    const fresh = 2.1591 - 2.4 * SIGMA * Math.sqrt(1 + 1 / 6);
    expect(judge(fresh, champion)).toMatchObject({ verdict: 'RETEST' });
    expect(judge(fresh, champion, { isFresh: true })).toMatchObject({ verdict: 'KEEP' });
  });
});

describe('what is no score', () => {
  const champion = championOf(seeds(BASELINE, { dataHash: '71f2ff5d99bdc1f9', steps: 353 }));

  it('compares no scores of different data', () => {
    const evidence = { family: 'new', seed: '42', tier: ANY_TIER, dataHash: 'f62af24000df7356', steps: 353, lines: 9 };
    expect(judge(1.9, champion, { evidence })).toMatchObject({ verdict: 'INVALID', z: null });
    expect(judge(2.06, champion, { evidence: { ...evidence, dataHash: null } })).toMatchObject({ verdict: 'KEEP' });
  });

  it('takes no score of a slow run, which is no discard either', () => {
    const evidence = { family: 'new', seed: '42', tier: ANY_TIER, dataHash: null, steps: 200, lines: 200 };
    const before = runOf(2.1, { variantHash: 'new', family: 'new', steps: 353 });
    const facts = { evidence, runs: [...champion.evidence, before] };
    expect(judge(2.3, champion, facts)).toMatchObject({ verdict: 'INVALID' });
    expect(judge(2.3, champion, { ...facts, evidence: { ...evidence, steps: 300 } }).verdict).toBe('DISCARD');
  });

  it('asks again where the champion never ran on the tier', () => {
    const evidence = { family: 'new', seed: '42', tier: 'xl', dataHash: null, steps: null, lines: 200 };
    expect(judge(2.0, champion, { evidence })).toMatchObject({ verdict: 'RETEST', z: null });
  });

  it('suspects a gain beyond the limit of the task, until another party gets the same', () => {
    expect(judge(1.85, champion)).toMatchObject({ verdict: 'SUSPECT' });
    const other = { variantHash: 'new', family: 'new', verdict: 'SUSPECT' } as const;
    const accomplice = runOf(1.85, { ...other, endpoint: 'https://b.example', payTo: '0xA' });
    expect(judge(1.85, champion, { runs: [accomplice] })).toMatchObject({ verdict: 'SUSPECT' });
    const stranger = runOf(1.85, { ...other, endpoint: 'https://b.example', payTo: '0xb' });
    expect(judge(1.85, champion, { runs: [stranger] })).toMatchObject({ verdict: 'KEEP' });
  });

  it('never makes a verdict with a score of a crash, of nothing, or of a number outside the range', () => {
    expect(judgeRunOf({ ...resultOf(null), status: 'failed' })).toBe('FAILED');
    expect(judgeRunOf({ ...resultOf(null), status: 'timeout' })).toBe('FAILED');
    expect(judgeRunOf(resultOf(null))).toBe('INVALID');
    fc.assert(
      fc.property(fc.oneof(fc.double({ max: 1.299 }), fc.double({ min: 10.001 })), (score) => {
        fc.pre(!Number.isNaN(score));
        expect(judgeRunOf(resultOf(score))).toBe('INVALID');
      }),
    );
  });

  const judgeRunOf = (run: RunResult) => judge(run.valBpb ?? 0, champion, { run }).verdict;
});

it('gives a better score no worse a verdict', () => {
  const order = ['DISCARD', 'RETEST', 'KEEP', 'SUSPECT'];
  const champion = championOf(seeds(BASELINE));
  const score = fc.double({ min: 1.4, max: 3, noNaN: true });
  fc.assert(
    fc.property(score, score, (a, b) => {
      const [worse, better] = [judge(Math.max(a, b), champion), judge(Math.min(a, b), champion)];
      expect(order.indexOf(better.verdict)).toBeGreaterThanOrEqual(order.indexOf(worse.verdict));
    }),
  );
});

describe('plausibility', () => {
  const timed = { ...UNKNOWN_TASK, budgetRule: { kind: 'seconds', text: '300 s' }, expectedSeconds: 326 } as const;
  const find = (run: RunResult, more: Partial<Parameters<typeof findImplausible>[0]> = {}) =>
    findImplausible({
      task: timed,
      run,
      wallSeconds: 330,
      tokensPerStep: 2 ** 19,
      trainHash: 'new',
      variantHash: 'new',
      runs: [runOf(0.983172)],
      ...more,
    });
  const honest = { val_bpb: 0.9979, training_seconds: 300.1, mfu_percent: 39.8, total_tokens_M: 499.6, num_steps: 953 };

  it('has no doubt about the reference run', () => {
    expect(find(resultOf(0.9979, honest))).toBeNull();
    expect(find(resultOf(0.9979))).toBeNull();
  });

  it.each([
    ['tokens that are not steps times batch', { total_tokens_M: 900 }, /steps of 524288/],
    ['more than all of the machine', { mfu_percent: 140 }, /mfu_percent/],
    ['another score in the summary', { val_bpb: 1.1 }, /summary/],
    ['more training than waiting', { training_seconds: 900 }, /trained for 900 s/],
  ])('finds %s', (_name, change, words) => {
    expect(find(resultOf(0.9979, { ...honest, ...change }))).toMatch(words);
  });

  it('finds an answer that came before the budget could be used', () => {
    expect(find(resultOf(0.9979, honest), { wallSeconds: 20 })).toMatch(/budget/);
  });

  it('finds the digits of another program, where no two runs end alike', () => {
    expect(find(resultOf(0.983172))).toMatch(/digits/);
    expect(find(resultOf(0.983172), { variantHash: 'base' })).toBeNull();
    expect(find(resultOf(0.983172), { task: UNKNOWN_TASK })).toBeNull();
  });

  it.each([
    ['2**19', 2 ** 19],
    ['524_288', 524_288],
    ['8 * 65536', 524_288],
    ['batch', null],
  ])('reads a batch of %s', (text, tokens) => {
    expect(readTokensPerStep(`TOTAL_BATCH_SIZE = ${text}\n`, {})).toBe(tokens);
    expect(readTokensPerStep(`TOTAL_BATCH_SIZE = ${text}\n`, { TOTAL_BATCH_SIZE: 7 })).toBe(7);
  });
});

describe('noise', () => {
  it('is the prior before repeats, and theirs after many', () => {
    expect(poolSigma([], { sigma: 5e-4, weight: 4 })).toBe(5e-4);
    const many = Array.from({ length: 400 }, (_, index) => [1, 1 + (index % 2 ? 0.02 : -0.02)]);
    expect(poolSigma(many, { sigma: 5e-4, weight: 4 })).toBeCloseTo(0.02 / Math.SQRT2, 3);
  });

  it('does not depend on how far apart different variants are', () => {
    const scores = fc.array(fc.double({ min: 1, max: 2, noNaN: true }), { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(scores, scores, fc.double({ min: -5, max: 5, noNaN: true }), (a, b, shift) => {
        const prior = { sigma: 0.02, weight: 4 };
        const moved = b.map((score) => score + shift);
        expect(poolSigma([a, moved], prior)).toBeCloseTo(poolSigma([a, b], prior), 9);
      }),
    );
  });

  it('tells what luck alone would give', () => {
    for (const [runs, sigmas] of [
      [10, 1.54],
      [30, 2.04],
      [100, 2.51],
      [300, 2.88],
      [1000, 3.24],
    ] as const)
      expect(expectLuck(runs)).toBeCloseTo(sigmas, 2);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), (runs) => {
        expect(expectLuck(runs + 1)).toBeGreaterThan(expectLuck(runs));
        expect(expectLuck(runs)).toBeLessThanOrEqual(Math.sqrt(2 * Math.log(Math.max(runs, 2))));
      }),
    );
  });
});

it('knows a tier by memory, else by the steps that a machine makes beside others', () => {
  expect(findTier({ gpu_memory_gb: 79.6 }, 'https://a.example', [])).toBe('xl');
  expect(findTier({ gpu_memory_mb: 24_564 }, 'https://a.example', [])).toBe('medium');
  const shared = ['v1', 'v2'].flatMap((variantHash) => [
    runOf(2, { variantHash, steps: 1000 }),
    runOf(2, { variantHash, steps: 480, endpoint: 'https://b.example' }),
  ]);
  expect(findTier(null, 'https://b.example', shared)).toBe('any x0.5');
  expect(findTier(null, 'https://c.example', shared)).toBe(ANY_TIER);
  expect(findTier(null, 'https://b.example', shared.slice(0, 2))).toBe(ANY_TIER);
});
