import { describe, expect, it } from 'vitest';
import { buildIntent, experimentIdOf, TARGET, TERMS } from '../../test/store-rows.ts';
import { createDataDir, openStore, seedExperiments } from '../../test/store-seed.ts';
import { atomicUsdc } from '../base/money.ts';
import { NO_CONSENT } from '../experiment/experiment.ts';
import { writeIntent, writeOutcome } from '../payment/journal.ts';
import { exportRecords } from '../provenance/export.ts';
import { saveRecord } from '../provenance/record.ts';
import { storeFolder } from '../store/folder.ts';
import { hasOpenWork } from './open-work.ts';

const CAPS = { perExperimentAtomic: atomicUsdc(1_000_000), rollingDayAtomic: atomicUsdc(1_000_000) };

async function createFinished() {
  const dataDir = createDataDir();
  const db = await openStore(dataDir);
  await seedExperiments(db, 1);
  const consent = JSON.stringify(NO_CONSENT);
  await db.updateTable('experiments').set({ state: 'refused', finished_at: 1, consent }).execute();
  return { dataDir, db };
}

describe('hasOpenWork', () => {
  it('says no where there is no store, or nothing left in it', async () => {
    expect(await hasOpenWork(createDataDir(), 'later')).toBe(false);
    const { dataDir } = await createFinished();
    expect(await hasOpenWork(dataDir, 'later')).toBe(false);
  });

  it('finds an experiment that has not ended', async () => {
    const { dataDir, db } = await createFinished();
    await db.updateTable('experiments').set({ state: 'sent', finished_at: null }).execute();
    expect(await hasOpenWork(dataDir, 'later')).toBe(true);
  });

  it('finds a reservation that an ended experiment has left', async () => {
    const { dataDir, db } = await createFinished();
    const intent = { ...buildIntent(experimentIdOf(0), 1), validBefore: Math.floor(Date.now() / 1000) + 600 };
    await db.transaction().execute((trx) => writeIntent(trx, TARGET, intent, TERMS, null, CAPS, 1));
    expect(await hasOpenWork(dataDir, 'later')).toBe(true);
    const outcome = { kind: 'unpaid', reason: 'expired' } as const;
    await db.transaction().execute((trx) => writeOutcome(trx, intent.experimentId, 1, outcome, 2));
    expect(await hasOpenWork(dataDir, 'later')).toBe(false);
  });

  it('looks once, and not again and again, for a reservation that no chain has decided for long', async () => {
    const { dataDir, db } = await createFinished();
    const intent = { ...buildIntent(experimentIdOf(0), 1), validBefore: Math.floor(Date.now() / 1000) - 7_200 };
    await db.transaction().execute((trx) => writeIntent(trx, TARGET, intent, TERMS, null, CAPS, 1));
    expect(await hasOpenWork(dataDir, 'first')).toBe(true);
    expect(await hasOpenWork(dataDir, 'later')).toBe(false);
  });

  it('finds a record that was published, but not exported before the runner died', async () => {
    const { dataDir, db } = await createFinished();
    const id = experimentIdOf(0);
    await db.transaction().execute((trx) => saveRecord(trx, id, JSON.stringify({ experiment_id: id }), 1));
    expect(await hasOpenWork(dataDir, 'later')).toBe(true);
    await exportRecords(db, storeFolder(dataDir));
    expect(await hasOpenWork(dataDir, 'later')).toBe(false);
  });
});
