import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { completeRun, publishRun } from '../../test/judged-run.ts';
import { ALPHA, LoopBench } from '../../test/loop-bench.ts';
import { openStore } from '../../test/store-seed.ts';
import { silentLog } from '../base/log.ts';
import { atomicUsdc } from '../base/money.ts';
import { type Experiment, loadExperiments } from '../experiment/experiment.ts';
import { createVariant } from '../experiment/variant.ts';
import { loadVariantForms } from '../experiment/variant-form.ts';
import { saveSource } from '../provenance/sources.ts';
import { createLoop, type LoopSettingsInput, loadLoop, type QueuedProposal, updateLoop } from './loop.ts';
import { LoopEngine } from './loop-engine.ts';
import { loadTitles } from './titles.ts';

const NOW = 1_790_000_000_000;
const variantOf = (source: string) => createVariant({ source, base: null, edits: [], config: {} });

it('runs every proposal once, also when it dies between drafting them and taking them from the queue', async () => {
  const db = await openStore();
  const baseline = variantOf('print(0)\n');
  const settings = {
    rounds: 10,
    budgetAtomic: atomicUsdc(1_000_000),
    maxPriceAtomic: atomicUsdc(250_000),
    parallel: 3,
    prefer: null,
    agent: null,
    mode: 'agent' as const,
  };
  const { loopId } = await db.transaction().execute((trx) => createLoop(trx, baseline, settings, NOW));
  const engine = new LoopEngine(db, { nowMs: () => NOW }, silentLog);
  await engine.tick();
  await db.transaction().execute(async (trx) => {
    await trx.updateTable('experiments').set({ state: 'published', finished_at: NOW, val_bpb: 1 }).execute();
    for (const index of [1, 2]) {
      const { trainHash, source } = variantOf(`print(${index})\n`);
      await saveSource(trx, trainHash, source, NOW);
    }
  });
  const proposals = [1, 2].map((index): QueuedProposal => {
    const { trainHash } = variantOf(`print(${index})\n`);
    return { trainHash, parentHash: null, config: {}, description: `idea ${index}`, hypothesis: null };
  });
  await updateLoop(db, loopId, NOW, () => ({ queue: proposals }));

  await sql`create trigger power_cut before update of queue on loops begin select raise(abort, 'power cut'); end`.execute(
    db,
  );
  await expect(engine.tick()).rejects.toThrow('power cut');
  await sql`drop trigger power_cut`.execute(db);
  await engine.tick();
  await engine.tick();

  const runs = await loadExperiments(db, { loopId, limit: 100 });
  const rounds = runs.filter(({ role }) => role === 'round');
  expect(rounds.map(({ description, round }) => [description, round]).sort()).toEqual([
    ['idea 1', 1],
    ['idea 2', 2],
  ]);
  expect((await loadLoop(db, loopId))?.queue).toEqual([]);
});

it('knows what a proposal was made from, which may share its source', async () => {
  const source = 'import os\nprint(os.environ["AUTORESEARCH_EXPERIMENT_CONFIG"])\n';
  const { variantHash } = variantOf(source);
  const bench = await LoopBench.open({}, source);
  await bench.begin(ALPHA, 2);
  const fast = createVariant({ source, base: source, edits: [], config: { RATE: 5 } });
  const slower = createVariant({ source, base: source, baseConfig: fast.config, edits: [], config: { RATE: 3 } });
  await bench.queue(fast, slower);
  const rounds = await bench.listOpen('round');
  expect(new Map(rounds.map((run) => [run.variantHash, run.parentVariantHash]))).toEqual(
    new Map([
      [fast.variantHash, variantHash],
      [slower.variantHash, fast.variantHash],
    ]),
  );
  // What later proposals are compared with is how it differs from that.
  const forms = new Map((await loadVariantForms(bench.db, bench.rootHash, 10)).map((form) => [form.variantHash, form]));
  expect(forms.get(slower.variantHash)?.changes.knobs).toEqual([{ name: 'RATE', direction: 'down', to: '3' }]);
});

/** A loop without audits of three workers, whose baseline has scored 2. Each answer is judged as a worker's would be. */
async function startLoop(settings: Partial<LoopSettingsInput> & { readonly rounds: number }) {
  const db = await openStore();
  let nowMs = NOW;
  const plain = { budgetAtomic: atomicUsdc(1_000_000), maxPriceAtomic: atomicUsdc(250_000), prefer: null, agent: null };
  const start = { ...plain, parallel: 3, auditShare: 0, ...settings };
  const { loopId } = await db.transaction().execute((trx) => createLoop(trx, variantOf('print(0)\n'), start, nowMs));
  const engine = new LoopEngine(db, { nowMs: () => nowMs }, silentLog);

  const listOpen = async () => (await loadExperiments(db, { loopId, isOpen: true, limit: 100 })).toReversed();

  /** What is under way: proposals by their round, extra runs by their role. */
  const show = async () => (await listOpen()).map(({ role, round }) => round ?? role).sort();

  const answer = async (run: Experiment | undefined, valBpb: number) => {
    if (!run) throw new Error('no such run is open');
    nowMs += 1_000;
    return (await publishRun(db, run, ALPHA, completeRun(valBpb), nowMs)).verdict;
  };

  await engine.tick();
  await answer((await listOpen())[0], 2);
  return {
    show,
    tick: () => engine.tick(),
    load: () => loadLoop(db, loopId),
    /** Queues so many new ideas. */
    propose: async (count: number) => {
      const proposals: QueuedProposal[] = [];
      for (let idea = 1; idea <= count; idea += 1) {
        const { trainHash, source } = variantOf(`print(${idea})\n`);
        await db.transaction().execute((trx) => saveSource(trx, trainHash, source, nowMs));
        proposals.push({ trainHash, parentHash: null, config: {}, description: `idea ${idea}`, hypothesis: null });
      }
      await updateLoop(db, loopId, nowMs, () => ({ queue: proposals }));
      await engine.tick();
    },
    /** A proposal's score comes in; the loop sees it at its next tick. */
    answer: async (round: number, valBpb: number) =>
      answer(
        (await listOpen()).find((run) => run.round === round),
        valBpb,
      ),
  };
}

describe('an extra run', () => {
  it('waits until the proposals of the last two waves are under way', async () => {
    const loop = await startLoop({ rounds: 7 });
    await loop.propose(7);
    expect(await loop.show()).toEqual([1, 2, 3]);
    expect(await loop.answer(1, 1.95)).toBe('KEEP');
    await loop.tick();
    expect(await loop.show()).toEqual([2, 3, 4]);
    for (const round of [2, 3, 4]) {
      await loop.answer(round, 2.1);
      await loop.tick();
    }
    expect(await loop.show()).toEqual([5, 6, 7]);
    await loop.answer(5, 2.1);
    await loop.tick();
    expect(await loop.show()).toEqual([6, 7, 'confirmation']);
  });

  it('takes a worker that the last proposals leave free', async () => {
    const loop = await startLoop({ rounds: 4 });
    await loop.propose(4);
    await loop.answer(1, 1.95);
    await loop.answer(2, 2.1);
    await loop.tick();
    expect(await loop.show()).toEqual([3, 4, 'confirmation']);
  });

  it.each<[string, Partial<LoopSettingsInput> & { readonly rounds: number }, number]>([
    ['before the last two waves', { rounds: 8 }, 8],
    ['where further proposals are still to come, which may follow from what it shows', { rounds: 7 }, 6],
    ['where a target is set, which may make the rest needless', { rounds: 7, targetValBpb: 1.5 }, 7],
    ['where runs do not go side by side', { rounds: 2, parallel: 1 }, 2],
  ])('goes first %s', async (_name, settings, proposals) => {
    const loop = await startLoop(settings);
    await loop.propose(proposals);
    const [, ...others] = await loop.show();
    expect(await loop.answer(1, 1.95)).toBe('KEEP');
    await loop.tick();
    expect(await loop.show()).toEqual([...others, 'confirmation']);
    expect((await loop.load())?.queue).toHaveLength(proposals - others.length - 1);
  });

  it('goes first, and no proposal after it, once a stop rule has ended the loop', async () => {
    const loop = await startLoop({ rounds: 24 });
    await loop.propose(24);
    for (let round = 1; round < 20; round += 1) {
      await loop.answer(round, 2.1 + round / 100);
      await loop.tick();
    }
    // Noise is 0.0005: twice as much is worth a second look, but no gain yet, as were the 19 before it.
    expect(await loop.answer(20, 1.999)).toBe('RETEST');
    await loop.tick();
    expect(await loop.show()).toEqual([21, 22, 'retest']);
    await loop.answer(21, 2.1);
    await loop.tick();
    expect(await loop.show()).toEqual([22, 'retest']);
    expect(await loop.load()).toMatchObject({ state: 'running', queue: [{}, {}] });
  });
});

it('has champions also while better ideas are found all the time', async () => {
  const bench = await LoopBench.open({ parallel: 32, rounds: 400 });
  await bench.begin(ALPHA, 2);
  const ideas = Array.from({ length: 160 }, (_, index) => index + 1);
  await bench.propose(...ideas);
  // All runs take equally long; every fourth idea is better than all before.
  const scores = new Map<string, number>();
  for (let step = 0; step < 160; step += 1) {
    const [run] = (await bench.listOpen()).toReversed();
    if (!run) throw new Error('nothing runs');
    const round = run.round ?? 1;
    const score = scores.get(run.variantHash) ?? (round % 4 === 0 ? 2 - round / 4_000 : 2.01);
    scores.set(run.variantHash, score);
    await publishRun(bench.db, run, `https://worker-${step % 40}.example/w`, completeRun(score), bench.nowMs);
    await bench.tick();
  }
  expect((await loadTitles(bench.db, { scope: bench.loopId })).length).toBeGreaterThan(1);
});
