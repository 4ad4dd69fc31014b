import { describe, expect, it } from 'vitest';
import { experimentIdOf } from '../../test/store-rows.ts';
import { openStore, seedExperiments } from '../../test/store-seed.ts';
import { atomicUsdc } from '../base/money.ts';
import type { Db } from '../store/database.ts';
import { loadExperiment, NO_CONSENT } from './experiment.ts';
import { advance, type Draft, draftExperiment, type Lease, LeaseLostError } from './journal.ts';
import {
  acquireLeases,
  acquireSlot,
  expireOtherLeases,
  LEASE_TTL_MS,
  loadTakenWorkers,
  releaseLeases,
  releaseSlots,
  renewLeases,
} from './leases.ts';
import { createVariant } from './variant.ts';

const NOW = 1_790_000_000_000;
const ID = experimentIdOf(0);
const WORKER = 'https://w.example';

function draftOf(change: Partial<Draft> = {}, source = 'print(1)\n'): Draft {
  const variant = createVariant({ source, base: null, edits: [], config: {} });
  return {
    variant,
    subject: variant.variantHash,
    workerRequest: 'auto',
    quoteId: null,
    maxPriceAtomic: atomicUsdc(250_000),
    consent: NO_CONSENT,
    idempotencyKey: null,
    hypothesis: null,
    agent: null,
    loop: null,
    ...change,
  };
}

async function seeded(count = 1): Promise<Db> {
  const db = await openStore();
  await seedExperiments(db, count);
  return db;
}

/** Takes every lease that is free. */
const take = (db: Db, owner: string, nowMs = NOW) => acquireLeases(db, owner, nowMs, 100);

async function takeOne(db: Db, owner: string, nowMs = NOW): Promise<Lease> {
  const [lease] = await take(db, owner, nowMs);
  return lease ?? expect.unreachable('there was no lease to take');
}

describe('draftExperiment', () => {
  it('finds the experiment that the same key made, also when ten calls come at once', async () => {
    const db = await openStore();
    for (const key of [null, 'own-key-1']) {
      const drafts = await Promise.all(
        Array.from({ length: 10 }, () => draftExperiment(db, draftOf({ idempotencyKey: key }, `x = "${key}"`), NOW)),
      );
      expect(drafts.filter(({ isNew }) => isNew)).toHaveLength(1);
      expect(new Set(drafts.map(({ experiment }) => experiment.experimentId)).size).toBe(1);
    }
  });

  it('makes another one for another source, worker, quote or loop', async () => {
    const db = await openStore();
    const drafts = [
      draftOf(),
      draftOf({}, 'print(2)\n'),
      draftOf({ workerRequest: WORKER, isRepeat: true }),
      draftOf({ quoteId: 'quote-1', isRepeat: true }),
      draftOf({ loop: { loopId: 'loop-1', role: 'round', round: 1 } }),
    ];
    const made = [];
    for (const draft of drafts) made.push(await draftExperiment(db, draft, NOW));
    expect(made.every(({ isNew }) => isNew)).toBe(true);
  });

  it('tries again under the default key after an end that cost nothing, and under no key after one that did', async () => {
    const db = await openStore();
    const key = { idempotencyKey: 'own-key-1' };
    const first = await draftExperiment(db, draftOf(), NOW);
    const named = await draftExperiment(db, draftOf(key, 'print(2)\n'), NOW);
    const end = (state: string, settlement: string) =>
      db
        .transaction()
        .execute((trx) => trx.updateTable('experiments').set({ state, settlement, finished_at: NOW }).execute());
    await end('published', 'settled');
    expect((await draftExperiment(db, draftOf(), NOW)).experiment.experimentId).toBe(first.experiment.experimentId);
    await end('refused', 'none');
    const again = await draftExperiment(db, draftOf(), NOW);
    expect(again.isNew).toBe(true);
    expect((await draftExperiment(db, draftOf(key, 'print(2)\n'), NOW)).experiment.experimentId).toBe(
      named.experiment.experimentId,
    );
    expect((await draftExperiment(db, draftOf(), NOW)).experiment.experimentId).toBe(again.experiment.experimentId);
  });
});

describe('a lease', () => {
  it('is held by one process until it runs out', async () => {
    const db = await seeded(3);
    expect(await take(db, 'a')).toHaveLength(3);
    expect(await take(db, 'b', NOW + LEASE_TTL_MS)).toEqual([]);
    await renewLeases(db, 'a', NOW + LEASE_TTL_MS);
    expect(await take(db, 'b', NOW + 2 * LEASE_TTL_MS)).toEqual([]);
    expect(await take(db, 'b', NOW + 2 * LEASE_TTL_MS + 1)).toHaveLength(3);
  });

  it('is not taken by two that try at the same time', async () => {
    const db = await seeded(20);
    const taken = await Promise.all(['a', 'b', 'c', 'd'].map((owner) => acquireLeases(db, owner, NOW, 100)));
    const ids = taken.flat().map(({ experimentId }) => experimentId);
    expect(ids).toHaveLength(20);
    expect(new Set(ids).size).toBe(20);
  });

  it('of its own experiment is left alone by a process that renews too late', async () => {
    const db = await seeded(2);
    const [first] = await take(db, 'a');
    const late = NOW + 10 * LEASE_TTL_MS;
    const driving = [experimentIdOf(0), experimentIdOf(1)];
    expect(await acquireLeases(db, 'a', late, 100, driving)).toEqual([]);
    await renewLeases(db, 'a', late);
    const lease = first ?? expect.unreachable();
    await expect(advance(db, lease, 'quoted', {}, late)).resolves.toMatchObject({ state: 'quoted' });
  });

  it('that was taken over lets its former owner write nothing', async () => {
    const db = await seeded();
    const before = await takeOne(db, 'a');
    const after = await takeOne(db, 'b', NOW + LEASE_TTL_MS + 1);
    expect(after.epoch).toBe(before.epoch + 1);
    const isWritten = { value: false };
    const zombie = advance(db, before, 'quoted', { settlement: 'pending' }, NOW, async (trx) => {
      isWritten.value = true;
      await trx.insertInto('settings').values({ key: 'zombie', value: '1' }).execute();
    });
    await expect(zombie).rejects.toThrow(LeaseLostError);
    expect(isWritten.value).toBe(false);
    expect(await loadExperiment(db, ID)).toMatchObject({ state: 'claimed', settlement: 'none' });
    await expect(advance(db, after, 'quoted', {}, NOW)).resolves.toMatchObject({ state: 'quoted' });
  });

  it('that came back to the same owner fences its earlier epoch all the same', async () => {
    const db = await seeded();
    const first = await takeOne(db, 'a');
    await releaseLeases(db, 'a');
    await takeOne(db, 'a');
    await expect(advance(db, first, 'quoted', {}, NOW)).rejects.toThrow(LeaseLostError);
  });

  it('of dead owners is free at once, that of the living one stays', async () => {
    const db = await seeded(2);
    await acquireLeases(db, 'dead', NOW, 1);
    await acquireLeases(db, 'living', NOW, 1);
    await expireOtherLeases(db, 'living');
    expect((await take(db, 'living')).map(({ experimentId }) => experimentId)).toEqual([ID]);
  });
});

describe('advance', () => {
  it('makes only transitions that exist', async () => {
    const db = await seeded();
    const lease = await takeOne(db, 'a');
    for (const to of ['signed', 'sent', 'published', 'drafted'] as const) {
      await expect(advance(db, lease, to, {}, NOW), to).rejects.toThrow(LeaseLostError);
    }
    expect((await loadExperiment(db, ID))?.state).toBe('claimed');
  });

  it('writes the state and what goes with it together or not at all', async () => {
    const db = await seeded();
    const lease = await takeOne(db, 'a');
    const dying = advance(db, lease, 'quoted', { attempt: 5 }, NOW, () => Promise.reject(new Error('power cut')));
    await expect(dying).rejects.toThrow('power cut');
    expect(await loadExperiment(db, ID)).toMatchObject({ state: 'claimed', attempt: 0 });
  });

  it('notes the end, after which nobody takes the experiment up', async () => {
    const db = await seeded();
    await advance(db, await takeOne(db, 'a'), 'refused', {}, NOW + 5);
    expect((await loadExperiment(db, ID))?.finishedAtMs).toBe(NOW + 5);
    expect(await take(db, 'b', NOW + 10 * LEASE_TTL_MS)).toEqual([]);
  });
});

describe('a worker slot', () => {
  it('is held by one experiment at a time', async () => {
    const db = await seeded(2);
    const tries = await Promise.all([0, 1].map((index) => acquireSlot(db, WORKER, experimentIdOf(index), NOW)));
    expect(tries.filter(Boolean)).toHaveLength(1);
    const holder = tries.indexOf(true);
    expect(await acquireSlot(db, WORKER, experimentIdOf(holder), NOW + 1)).toBe(true);
    expect(await loadTakenWorkers(db, NOW)).toEqual(new Set([WORKER]));
    expect(await acquireSlot(db, WORKER, experimentIdOf(1 - holder), NOW + 2 * LEASE_TTL_MS)).toBe(true);
    await releaseSlots(db, experimentIdOf(1 - holder));
    expect(await loadTakenWorkers(db, NOW)).toEqual(new Set());
  });

  it('lives on with the lease of its experiment, and runs out when that is over', async () => {
    const db = await seeded(2);
    const lease = await takeOne(db, 'a');
    await acquireSlot(db, WORKER, lease.experimentId, NOW);
    await renewLeases(db, 'a', NOW + LEASE_TTL_MS);
    expect(await loadTakenWorkers(db, NOW + LEASE_TTL_MS + 1)).toEqual(new Set([WORKER]));
    // Cancelled between the look for a worker and the end: the slot is taken, and nobody gives it back.
    await advance(db, lease, 'refused', {}, NOW);
    await renewLeases(db, 'a', NOW + 2 * LEASE_TTL_MS);
    expect(await loadTakenWorkers(db, NOW + 2 * LEASE_TTL_MS + 1)).toEqual(new Set());
  });
});
