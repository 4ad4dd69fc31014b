import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { openStore } from '../../test/store-seed.ts';
import { silentLog } from '../base/log.ts';
import { atomicUsdc } from '../base/money.ts';
import { loadExperiments } from '../experiment/experiment.ts';
import { createVariant } from '../experiment/variant.ts';
import { saveSource } from '../provenance/sources.ts';
import { createLoop, loadLoop, type QueuedProposal, updateLoop } from './loop.ts';
import { LoopEngine } from './loop-engine.ts';

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
