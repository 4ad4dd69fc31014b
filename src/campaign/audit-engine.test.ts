import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ALPHA, BRAVO, CHARLIE, LoopBench, START } from '../../test/loop-bench.ts';
import { buildIntent, TARGET, TERMS } from '../../test/store-rows.ts';
import { silentLog } from '../base/log.ts';
import { atomicUsdc } from '../base/money.ts';
import type { SharedCaps } from '../payment/budget.ts';
import { writeIntent } from '../payment/journal.ts';
import { drawShare } from './audit-engine.ts';
import { NO_INDEPENDENT_WORKER } from './extra-facts.ts';
import { type LoopSettingsInput, loadLoop } from './loop.ts';
import { LoopEngine, loadProgress } from './loop-engine.ts';
import { loadStandings } from './standing.ts';
import { loadTitles } from './titles.ts';

describe('a would-be champion', () => {
  it('becomes champion only after a fresh run, whose score alone is then its estimate', async () => {
    const bench = await LoopBench.open();
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    const round = await bench.take('round');
    expect(await bench.answer(round, ALPHA, 1.95)).toMatchObject({ verdict: 'KEEP' });
    expect(await bench.champion()).toMatchObject({ valBpb: 2, verified: false });
    const fresh = await bench.take('confirmation');
    expect(fresh).toMatchObject({ auditOf: round.experimentId, round: null, variantHash: round.variantHash });
    expect(fresh.experimentId).not.toBe(round.experimentId);
    expect(await bench.answer(fresh, BRAVO, 1.951)).toMatchObject({ verdict: 'KEEP' });
    expect(await bench.champion()).toMatchObject({
      experimentId: round.experimentId,
      valBpb: 1.951,
      verified: true,
      runs: 1,
    });
    expect((await loadTitles(bench.db, { scope: bench.loopId })).map(({ cause }) => cause)).toEqual([
      'baseline',
      'confirmed',
    ]);
    expect(await bench.state()).toBe('needs_proposals');
  });

  it('with a fabricated score never does; a third worker decides who is wrong, and its giver loses standing', async () => {
    const bench = await LoopBench.open();
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    const round = await bench.take('round');
    await bench.answer(round, BRAVO, 1.92);
    await bench.answer(await bench.take('confirmation'), ALPHA, 2.003);
    const third = await bench.take('audit');
    expect(third.auditOf).toBe(round.experimentId);
    await bench.answer(third, CHARLIE, 2.003);
    expect(await bench.champion()).toMatchObject({ valBpb: 2 });
    expect(await bench.listOpen()).toEqual([]);
    const standings = await loadStandings(bench.db, bench.nowMs);
    expect(standings.get(BRAVO)).toMatchObject({ state: 'quarantined', disagreements: 1, agreements: 0 });
    expect(standings.get(ALPHA)).toMatchObject({ state: 'ok', disagreements: 0, agreements: 1 });
    expect(standings.get(CHARLIE)).toMatchObject({ state: 'ok', agreements: 1 });
  });

  it('is not brought down by a lying confirmation: the third worker agrees with the first', async () => {
    const bench = await LoopBench.open();
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    const round = await bench.take('round');
    await bench.answer(round, ALPHA, 1.95);
    await bench.answer(await bench.take('confirmation'), BRAVO, 2.2);
    await bench.answer(await bench.take('audit'), CHARLIE, 1.95);
    expect(await bench.champion()).toMatchObject({ experimentId: round.experimentId, valBpb: 1.95, verified: true });
    expect((await loadStandings(bench.db, bench.nowMs)).get(BRAVO)?.state).toBe('quarantined');
  });

  it('too good for one step is run again elsewhere, and believed when that gives the same', async () => {
    const bench = await LoopBench.open();
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    const round = await bench.take('round');
    expect(await bench.answer(round, ALPHA, 1.6)).toMatchObject({ verdict: 'SUSPECT' });
    expect(await bench.answer(await bench.take('confirmation'), BRAVO, 1.6)).toMatchObject({ verdict: 'KEEP' });
    expect(await bench.champion()).toMatchObject({ valBpb: 1.6, verified: true });
  });

  it('that nobody else can run holds the title unverified', async () => {
    const bench = await LoopBench.open();
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    await bench.answer(await bench.take('round'), ALPHA, 1.95);
    await bench.refuse(await bench.take('confirmation'), NO_INDEPENDENT_WORKER);
    expect(await bench.listOpen()).toEqual([]);
    expect(await bench.champion()).toMatchObject({ valBpb: 1.95, verified: false });
    expect((await loadTitles(bench.db, { scope: bench.loopId })).at(-1)).toMatchObject({ cause: 'unconfirmed' });
  });

  it('is asked for again however often nobody could be found', async () => {
    const bench = await LoopBench.open({ rounds: 1 });
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    await bench.answer(await bench.take('round'), ALPHA, 1.95);
    for (let tries = 0; tries < 4; tries += 1) await bench.refuse(await bench.take('confirmation'), 'no_worker');
    await bench.answer(await bench.take('confirmation'), BRAVO, 1.95);
    expect(await bench.champion()).toMatchObject({ valBpb: 1.95, verified: true });
  });

  it('gives the title back when later runs speak against it', async () => {
    const bench = await LoopBench.open();
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    const round = await bench.take('round');
    await bench.answer(round, ALPHA, 1.95);
    await bench.refuse(await bench.take('confirmation'), NO_INDEPENDENT_WORKER);
    // Somebody submits the program of the champion again, at two other workers.
    await bench.repeat(round, BRAVO, 2.001);
    await bench.repeat(round, CHARLIE, 2.001);
    expect(await bench.champion()).toMatchObject({ valBpb: 2 });
    const causes = (await loadTitles(bench.db, { scope: bench.loopId })).map(({ cause }) => cause);
    expect(causes).toEqual(['baseline', 'unconfirmed', 'rolled_back']);
  });
});

describe('the confirmation of what a trusted worker found', () => {
  const price = atomicUsdc(50_000);
  const plenty = atomicUsdc(5_000_000);
  /** What eight runs cost at the price of the one that was paid: two at once and those that are kept back. */
  const scarce = atomicUsdc(9 * 50_000 - 1);

  it.each<[string, boolean, LoopSettingsInput['budgetAtomic'], SharedCaps]>([
    ['waits while money is left', true, plenty, { rollingDayAtomic: plenty, lifetimeAtomic: plenty }],
    ['comes first when the budget runs out', false, scarce, { rollingDayAtomic: plenty }],
    ['comes first when the money of the day runs out', false, plenty, { rollingDayAtomic: scarce }],
    [
      'comes first when the money for good runs out',
      false,
      plenty,
      { rollingDayAtomic: plenty, lifetimeAtomic: scarce },
    ],
  ])('%s', async (_name, waits, budgetAtomic, caps) => {
    const bench = await LoopBench.open({ parallel: 2, rounds: 20, budgetAtomic }, undefined, caps);
    await bench.tick();
    const baseline = await bench.take('baseline');
    const { experimentId } = baseline;
    const target = { ...TARGET, loopId: bench.loopId };
    const intent = buildIntent(experimentId, 1, 50_000);
    const limits = { ...caps, perExperimentAtomic: price };
    await bench.db.transaction().execute((trx) => writeIntent(trx, target, intent, TERMS, null, limits, bench.nowMs));
    await bench.answer(baseline, ALPHA, 2);
    await bench.repeat(baseline, BRAVO, 2);
    await bench.propose(1, 2, 3, 4, 5, 6);
    const [, found] = await bench.listOpen('round');
    if (!found) throw new Error('two proposals run at once');
    await bench.answer(found, ALPHA, 1.98);
    expect((await bench.listOpen()).map(({ role }) => role).sort()).toEqual(
      waits ? ['round', 'round'] : ['confirmation', 'round'],
    );
  });
});

describe('two voices that a title needs', () => {
  it.each<[string, number | null, string[]]>([
    ['wait for each other while proposals are to come', null, ['confirmation', 'round', 'round']],
    ['do not where a target may end the loop', 1.5, ['confirmation', 'confirmation', 'round']],
  ])('%s', async (_name, targetValBpb, open) => {
    const bench = await LoopBench.open({ parallel: 3, rounds: 20, targetValBpb });
    await bench.tick();
    const baseline = await bench.take('baseline');
    await bench.answer(baseline, ALPHA, 2);
    // In a market of four parties one other voice is not enough.
    for (const name of ['bravo', 'charlie', 'delta']) await bench.repeat(baseline, `https://${name}.example/w`, 2);
    await bench.propose(1, 2, 3, 4, 5, 6);
    const [, second, first] = await bench.listOpen('round');
    if (!first || !second) throw new Error('three proposals run at once');
    await bench.answer(first, 'https://echo.example/w', 1.98);
    await bench.answer(second, ALPHA, 2.1);
    const running = await bench.listOpen();
    expect(running.map(({ role }) => role).sort()).toEqual(open);
    expect(new Set(running.flatMap(({ auditOf }) => auditOf ?? []))).toEqual(new Set([first.experimentId]));
  });
});

describe('a script with a seed', () => {
  const numpy = [
    'import numpy',
    'from pydoc_data.topics import topics',
    'CONTEXT = 8',
    'EMBED_DIM = 32',
    'DEPTH = 2',
    'TOTAL_BATCH_SIZE = 1024',
    'MATRIX_LR = 0.005',
    'WARMDOWN_RATIO = 0.3',
    'SEED = 42  # drawn once',
    'MAX_STEPS = 0',
    'FLOP_BUDGET = 1',
    'LEVEL = 0',
    'def loss_and_grads(): pass',
    'def evaluate_bpb(): pass',
    'print("val_bpb:", evaluate_bpb())',
  ].join('\n');

  it('is confirmed with another seed where there is only one worker: the one edit that the server makes itself', async () => {
    const bench = await LoopBench.open({}, numpy);
    await bench.begin(ALPHA, 2.14);
    await bench.propose(1);
    const round = await bench.take('round');
    expect(await bench.answer(round, ALPHA, 2.03)).toMatchObject({ verdict: 'KEEP' });
    await bench.refuse(await bench.take('confirmation'), NO_INDEPENDENT_WORKER);
    const reseeded = await bench.take('confirmation');
    expect(reseeded.variantHash).not.toBe(round.variantHash);
    expect(reseeded).toMatchObject({ description: 'SEED 42 → 43', rootHash: bench.rootHash });
    await bench.answer(reseeded, ALPHA, 2.05);
    expect(await bench.champion()).toMatchObject({ experimentId: round.experimentId, valBpb: 2.05, verified: true });
  });

  it('is tested again with another seed when a score is too close to call', async () => {
    const bench = await LoopBench.open({}, numpy);
    await bench.begin(ALPHA, 2.14);
    await bench.propose(1);
    expect(await bench.answer(await bench.take('round'), ALPHA, 2.1)).toMatchObject({ verdict: 'RETEST' });
    expect((await bench.take('retest')).description).toBe('SEED 42 → 43');
  });
});

describe('audits', () => {
  it('repeat all runs at share 1, none at share 0, in roles that only the store knows', async () => {
    const bench = await LoopBench.open({ auditShare: 1 });
    await bench.begin(ALPHA, 2);
    const audit = await bench.take('audit');
    const [baseline] = (await loadProgress(bench.db, bench.loopId)).runs;
    expect(audit).toMatchObject({ auditOf: baseline?.experimentId, variantHash: baseline?.variantHash, config: {} });
    expect(audit.experimentId).toMatch(/^exp-\d{8}-[0-9a-f]{16}$/);
    await bench.answer(audit, BRAVO, 2);
    expect(await bench.champion()).toMatchObject({ valBpb: 2, runs: 2, verified: true });
    await bench.propose(5);
    await bench.answer(await bench.take('round'), ALPHA, 2.4);
    expect(await bench.listOpen('audit')).toHaveLength(1);
  });

  it('are drawn at the rate that was asked for, and by nobody who lacks the secret', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 8 }), (secret) => {
        const lots = Array.from({ length: 400 }, (_, index) => drawShare(secret, 'loop', `exp-${index}`));
        expect(lots.every((lot) => lot >= 0 && lot < 1)).toBe(true);
        const share = lots.filter((lot) => lot < 0.1).length / lots.length;
        expect(share).toBeGreaterThan(0.02);
        expect(share).toBeLessThan(0.2);
        expect(lots).not.toEqual(lots.map((_, index) => drawShare(`${secret}x`, 'loop', `exp-${index}`)));
      }),
      { numRuns: 50 },
    );
  });

  it('a worker whose time is over is tried with a known program, and is back when it tells the truth', async () => {
    const bench = await LoopBench.open({ auditShare: 0.000001 });
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    await bench.answer(await bench.take('round'), BRAVO, 1.92);
    await bench.answer(await bench.take('confirmation'), ALPHA, 2.003);
    await bench.answer(await bench.take('audit'), CHARLIE, 2.003);
    bench.nowMs += 3_600_000;
    expect((await loadStandings(bench.db, bench.nowMs)).get(BRAVO)?.state).toBe('probation');
    await bench.propose(2);
    await bench.answer(await bench.take('round'), ALPHA, 2.3);
    const canary = await bench.take('canary');
    expect(canary.workerRequest).toBe(BRAVO);
    await bench.answer(canary, BRAVO, 2.003);
    expect((await loadStandings(bench.db, bench.nowMs)).get(BRAVO)?.state).toBe('ok');
  });
});

describe('a loop ends', () => {
  it('when its champion reaches the target', async () => {
    const bench = await LoopBench.open({ targetValBpb: 1.96 });
    await bench.begin(ALPHA, 2);
    await bench.propose(1, 2, 3, 4, 5);
    const [first] = (await bench.listOpen('round')).filter(({ round }) => round === 1);
    if (!first) throw new Error('no round');
    await bench.answer(first, ALPHA, 1.95);
    expect(await bench.state()).toBe('running');
    await bench.answer((await bench.listOpen('confirmation'))[0] ?? first, BRAVO, 1.95);
    for (const run of await bench.listOpen()) await bench.answer(run, ALPHA, 2.1);
    expect(await loadLoop(bench.db, bench.loopId)).toMatchObject({
      state: 'finished',
      reason: { code: 'target_reached' },
    });
    const rounds = (await loadProgress(bench.db, bench.loopId)).roundsStarted;
    expect(rounds).toBeLessThanOrEqual(5);
  });

  it('at its deadline, and starts nothing after it', async () => {
    const bench = await LoopBench.open({ deadlineMs: START + 60_000, parallel: 1 });
    await bench.begin(ALPHA, 2);
    await bench.propose(1, 2);
    const round = await bench.take('round');
    bench.nowMs = START + 61_000;
    await bench.tick();
    expect(await bench.state()).toBe('running');
    await bench.answer(round, ALPHA, 1.9);
    expect(await bench.listOpen()).toEqual([]);
    expect(await loadLoop(bench.db, bench.loopId)).toMatchObject({ state: 'finished', reason: { code: 'deadline' } });
  });

  it('not while asking again shows that a score too close to call was a gain', async () => {
    const bench = await LoopBench.open({ rounds: 100, parallel: 1 });
    await bench.begin(ALPHA, 2);
    await bench.propose(...Array.from({ length: 30 }, (_, index) => index + 1));
    for (let round = 0; round < 19; round += 1) await bench.answer(await bench.take('round'), ALPHA, 2.1 + round / 100);
    // Noise is 0.0005: 1.4 of it are worth a second look.
    expect(await bench.answer(await bench.take('round'), ALPHA, 1.999)).toMatchObject({ verdict: 'RETEST' });
    expect(await bench.answer(await bench.take('retest'), BRAVO, 1.998)).toMatchObject({ verdict: 'KEEP' });
    expect(await bench.state()).toBe('running');
  });

  it('after 20 rounds that improved nothing', async () => {
    const bench = await LoopBench.open({ rounds: 100, parallel: 1 });
    await bench.begin(ALPHA, 2);
    await bench.propose(...Array.from({ length: 30 }, (_, index) => index + 1));
    for (let round = 0; round < 20; round += 1) await bench.answer(await bench.take('round'), ALPHA, 2.1 + round / 100);
    expect(await loadLoop(bench.db, bench.loopId)).toMatchObject({ state: 'finished', reason: { code: 'stagnation' } });
    expect(await bench.listOpen()).toEqual([]);
  });
});

it('drafts an extra run once, however often the process dies', async () => {
  const bench = await LoopBench.open();
  await bench.begin(ALPHA, 2);
  await bench.propose(1);
  await bench.answer(await bench.take('round'), ALPHA, 1.95);
  const { role, experimentId } = await bench.take('confirmation');
  expect(role).toBe('confirmation');
  for (let death = 0; death < 3; death += 1) {
    const successor = new LoopEngine(bench.db, { nowMs: () => bench.nowMs }, silentLog);
    await successor.tick();
  }
  expect((await bench.listOpen()).map((run) => run.experimentId)).toEqual([experimentId]);
});

describe('a worker of another tier', () => {
  it('is given the champion to run, so that what it says of ideas can be compared with something', async () => {
    const bench = await LoopBench.open({ parallel: 1 });
    await bench.begin(ALPHA, 2);
    await bench.propose(1);
    const other = { gpu_memory_gb: 80 };
    expect(await bench.answer(await bench.take('round'), BRAVO, 1.9, other)).toMatchObject({ verdict: 'RETEST' });
    const reference = await bench.take('retest');
    const { baseline } = await loadProgress(bench.db, bench.loopId);
    expect(reference).toMatchObject({ auditOf: baseline?.experimentId, workerRequest: BRAVO });
    await bench.answer(reference, BRAVO, 1.89, other);
    // The idea was no better than the champion there: it is not run a second time.
    expect(await bench.listOpen()).toEqual([]);
    await bench.propose(2);
    expect(await bench.answer(await bench.take('round'), BRAVO, 1.87, other)).toMatchObject({ verdict: 'KEEP' });
  });
});

it('has the first run of a long loop repeated by several workers before it looks at ideas', async () => {
  const bench = await LoopBench.open({ rounds: 48, auditShare: 0.000001 });
  await bench.begin(ALPHA, 2);
  const panel = await bench.listOpen();
  const { baseline } = await loadProgress(bench.db, bench.loopId);
  const repeat = ['audit', baseline?.experimentId, baseline?.variantHash];
  expect(panel.map(({ role, auditOf, variantHash }) => [role, auditOf, variantHash])).toEqual([repeat, repeat, repeat]);
});
