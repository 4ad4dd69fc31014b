import { describe, expect, it } from 'vitest';
import { openStore, seedExperiments } from '../../test/store-seed.ts';
import type { TitleCause } from '../campaign/titles.ts';
import type { Db } from '../store/database.ts';
import { drawChart } from './charts.ts';

const LOOP = 'loop-20261126-0000000000000001';

/** Rows of one loop as they are when it is over, in this order. */
async function seedLoop(db: Db, runs: readonly (readonly [role: string, verdict: string, valBpb: number])[]) {
  const ids = await seedExperiments(db, runs.length, LOOP);
  for (const [index, [role, verdict, valBpb]] of runs.entries())
    await db
      .updateTable('experiments')
      .set({ state: 'published', role, verdict, val_bpb: valBpb, description: `run ${index}`, created_at: index })
      .where('experiment_id', '=', ids[index] ?? '')
      .execute();
  return ids;
}

/** Makes the idea that a run found a champion. */
async function crown(db: Db, experimentId: string, seq = 2, cause: TitleCause = 'confirmed'): Promise<void> {
  await db
    .insertInto('titles')
    .values({
      scope: LOOP,
      seq,
      root_hash: 'sha256:0',
      experiment_id: experimentId,
      variant_hash: 'sha256:1',
      verified: 1,
      cause,
      created_at: 3,
    })
    .execute();
}

describe('drawChart', () => {
  it('counts ideas that were kept, and the runs that only measured them again apart', async () => {
    const db = await openStore();
    await seedLoop(db, [
      ['baseline', 'BASELINE', 1.72],
      ['round', 'KEEP', 1.65],
      ['confirmation', 'KEEP', 1.651],
      ['round', 'KEEP-SIMPLER', 1.66],
      ['audit', 'DISCARD', 1.66],
      ['round', 'RETEST', 1.649],
      ['retest', 'KEEP', 1.62],
      ['round', 'DISCARD', 1.7],
    ]);
    const words = '5 experiments, 2 kept, 3 extra runs, 1.7200 → 1.6500';
    expect(await drawChart(db, LOOP, null)).toContain(`>${words}<`);
    expect(await drawChart(db, null, null)).toContain(`>${words}<`);
  });

  it('counts an idea that fresh runs made champion although its own was too close to call', async () => {
    const db = await openStore();
    const [, late = ''] = await seedLoop(db, [
      ['baseline', 'BASELINE', 1.72],
      ['round', 'RETEST', 1.71],
      ['retest', 'KEEP', 1.7],
    ]);
    expect(await drawChart(db, LOOP, null)).toContain('>2 experiments, 0 kept, 1 extra run, 1.7200<');
    await crown(db, late);
    expect(await drawChart(db, LOOP, null)).toContain('>2 experiments, 1 kept, 1 extra run, 1.7200 → 1.7100<');
  });

  it('counts no idea as kept that a fresh run refuted, unless others made it champion', async () => {
    const db = await openStore();
    const [first = '', found = '', fresh = '', again = ''] = await seedLoop(db, [
      ['baseline', 'BASELINE', 1.72],
      ['round', 'KEEP', 1.65],
      ['confirmation', 'DISCARD', 1.73],
      ['confirmation', 'RETEST', 1.71],
    ]);
    const set = (id: string, change: object) =>
      db.updateTable('experiments').set(change).where('experiment_id', '=', id).execute();
    const beside = (championId: string) => ({ judgement: JSON.stringify({ championId }) });
    const [kept, notKept] = ['1 kept, 2 extra runs, 1.7200 → 1.6500<', '0 kept, 2 extra runs, 1.7200<'];
    expect(await drawChart(db, LOOP, null)).toContain(kept);
    // Too close to call says nothing, nor does a loss beside another champion.
    await set(found, beside(first));
    await set(again, { audit_of: found, ...beside(first) });
    await set(fresh, { audit_of: found, ...beside('another') });
    expect(await drawChart(db, LOOP, null)).toContain(kept);
    await set(fresh, beside(first));
    expect(await drawChart(db, LOOP, null)).toContain(notKept);
    await set(again, { verdict: 'KEEP' });
    expect(await drawChart(db, LOOP, null)).toContain(kept);
    await set(again, { verdict: 'RETEST' });
    await crown(db, found);
    expect(await drawChart(db, LOOP, null)).toContain(kept);
    await crown(db, first, 3, 'rolled_back');
    expect(await drawChart(db, LOOP, null)).toContain(notKept);
  });

  it('shows no first run of a loop as a kept idea, whatever it was judged as', async () => {
    const db = await openStore();
    const [first = ''] = await seedLoop(db, [['baseline', 'RETEST', 1.72]]);
    await crown(db, first);
    expect(await drawChart(db, LOOP, null)).toContain('>1 experiment, 0 kept<');
  });

  it('shows a champion that seemed too good to be true when it was found', async () => {
    const db = await openStore();
    const [, found = ''] = await seedLoop(db, [
      ['baseline', 'BASELINE', 1.72],
      ['round', 'SUSPECT', 1.2],
    ]);
    expect(await drawChart(db, LOOP, null)).toContain('>1 experiment, 0 kept, 1.7200<');
    await crown(db, found);
    expect(await drawChart(db, LOOP, null)).toContain('>2 experiments, 1 kept, 1.7200 → 1.2000<');
  });
});
