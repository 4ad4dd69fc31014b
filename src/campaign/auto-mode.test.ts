import { expect, it } from 'vitest';
import { completeRun, publishRun } from '../../test/judged-run.ts';
import { openStore } from '../../test/store-seed.ts';
import { silentLog } from '../base/log.ts';
import { atomicUsdc } from '../base/money.ts';
import { type Experiment, loadExperiments } from '../experiment/experiment.ts';
import { createVariant } from '../experiment/variant.ts';
import { AutoDesigner } from './auto-mode.ts';
import { createLoop, loadLoop } from './loop.ts';
import { LoopEngine } from './loop-engine.ts';

const START = 1_790_000_000_000;
const SOURCE = 'DEPTH = 8\nWIDTH = 64\nprint("val_bpb:", DEPTH * WIDTH)\n';
const SMALL = { name: 'https://small.example/w', gpu_memory_gb: 16, offset: 0 };
const LARGE = { name: 'https://large.example/w', gpu_memory_gb: 80, offset: -0.5 };

/** A loop of the real engine, judge and proposer; the test says which machine runs what and what comes out. */
async function startLoop(rounds: number) {
  const db = await openStore();
  let nowMs = START;
  const settings = {
    rounds,
    budgetAtomic: atomicUsdc(1_000_000),
    maxPriceAtomic: atomicUsdc(250_000),
    parallel: 1,
    prefer: null,
    agent: null,
    auditShare: 0,
    mode: 'auto' as const,
  };
  const baseline = createVariant({ source: SOURCE, base: null, edits: [], config: {} });
  const { loopId } = await db.transaction().execute((trx) => createLoop(trx, baseline, settings, nowMs));
  const designer = new AutoDesigner(db, async () => true);
  const engine = new LoopEngine(db, { nowMs: () => nowMs }, silentLog, (...asked) => designer.design(...asked));
  return {
    /** The next run that waits for a worker. */
    next: async (): Promise<Experiment> => {
      for (let ticks = 0; ticks < 3; ticks += 1) {
        const [run] = await loadExperiments(db, { loopId, isOpen: true, limit: 1 });
        if (run) return run;
        nowMs += 1_000;
        await engine.tick();
      }
      throw new Error(`nothing runs: ${JSON.stringify((await loadLoop(db, loopId))?.reason)}`);
    },
    answer: async (run: Experiment, machine: typeof SMALL, score: number): Promise<void> => {
      nowMs += 1_000;
      const valBpb = score + machine.offset;
      const result = completeRun(valBpb, { val_bpb: valBpb, gpu_memory_gb: machine.gpu_memory_gb });
      await publishRun(db, run, machine.name, result, nowMs);
    },
  };
}

it('builds on what is better, not on what ran on a faster machine', async () => {
  const loop = await startLoop(6);
  const baseline = await loop.next();
  const truths = new Map<string, number>([[baseline.trainHash, 2]]);
  const nextRound = async (): Promise<Experiment> => {
    for (let run = await loop.next(); ; run = await loop.next()) {
      if (run.role === 'round') return run;
      await loop.answer(run, LARGE, truths.get(run.trainHash) ?? Number.NaN);
    }
  };
  const run = async (machine: typeof SMALL, score: number): Promise<Experiment> => {
    const round = await nextRound();
    truths.set(round.trainHash, score);
    await loop.answer(round, machine, score);
    return round;
  };
  await loop.answer(baseline, SMALL, 2);
  // Prints half a bit less than the baseline did, and is worse.
  await run(LARGE, 2.01);
  const better = await run(SMALL, 1.96);
  expect(better.parentHash).toBe(baseline.trainHash);
  await run(LARGE, 1.99);
  expect((await nextRound()).parentHash).toBe(better.trainHash);
});
