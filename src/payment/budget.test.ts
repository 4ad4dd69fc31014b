import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildIntent, experimentIdOf, TARGET, TERMS } from '../../test/store-rows.ts';
import { createDataDir, openStore, runStoreProcess, seedExperiments } from '../../test/store-seed.ts';
import { atomicUsdc } from '../base/money.ts';
import type { Db } from '../store/database.ts';
import { type Caps, closeReservation, OverBudgetError, sumLedger } from './budget.ts';
import { writeIntent } from './journal.ts';

const DAY_MS = 86_400_000;
const NOW = 1_790_000_000_000;
const caps = (change: Partial<Record<keyof Caps, number>>): Caps => ({
  perExperimentAtomic: atomicUsdc(change.perExperimentAtomic ?? 1_000_000),
  rollingDayAtomic: atomicUsdc(change.rollingDayAtomic ?? 1_000_000),
  ...(change.lifetimeAtomic === undefined ? {} : { lifetimeAtomic: atomicUsdc(change.lifetimeAtomic) }),
  ...(change.loopAtomic === undefined ? {} : { loopAtomic: atomicUsdc(change.loopAtomic) }),
});

interface Entry {
  readonly index: number;
  readonly attempt?: number;
  readonly value?: number;
  readonly loopId?: string;
}

/** Reserves the price of an attempt as the step of an experiment does; the cap that refused it, if one did. */
async function reserve(db: Db, entry: Entry, limits: Caps, nowMs = NOW): Promise<string> {
  const intent = buildIntent(experimentIdOf(entry.index), entry.attempt ?? 1, entry.value ?? 100_000);
  const target = { ...TARGET, loopId: entry.loopId ?? null };
  const writing = db.transaction().execute((trx) => writeIntent(trx, target, intent, TERMS, null, limits, nowMs));
  return writing.then(
    () => 'reserved',
    (error: unknown) => {
      if (error instanceof OverBudgetError) return error.cap;
      throw error;
    },
  );
}

const close = (db: Db, index: number, outcome: 'spent' | 'released', nowMs = NOW, attempt = 1) =>
  db.transaction().execute((trx) => closeReservation(trx, experimentIdOf(index), attempt, outcome, nowMs));

async function seeded(count: number): Promise<Db> {
  const db = await openStore();
  await seedExperiments(db, count);
  return db;
}

describe('reserve', () => {
  it('fills a cap to the last cent and not beyond, and then writes nothing', async () => {
    const db = await seeded(3);
    const limits = caps({ rollingDayAtomic: 200_000 });
    expect(await reserve(db, { index: 0 }, limits)).toBe('reserved');
    expect(await reserve(db, { index: 1 }, limits)).toBe('reserved');
    expect(await reserve(db, { index: 2, value: 1 }, limits)).toBe('day');
    expect(await db.selectFrom('attempts').selectAll().execute()).toHaveLength(2);
    expect(await sumLedger(db, NOW)).toEqual({ spentAtomic: 0n, spentDayAtomic: 0n, heldAtomic: 200_000n });
  });

  it('holds every cap of its own', async () => {
    const db = await seeded(4);
    expect(await reserve(db, { index: 0, value: 250_001 }, caps({ perExperimentAtomic: 250_000 }))).toBe('experiment');
    expect(await reserve(db, { index: 0, loopId: 'l' }, caps({ loopAtomic: 150_000 }))).toBe('reserved');
    expect(await reserve(db, { index: 1, loopId: 'l' }, caps({ loopAtomic: 150_000 }))).toBe('loop');
    expect(await reserve(db, { index: 1, loopId: 'm' }, caps({ loopAtomic: 150_000 }))).toBe('reserved');
    expect(await reserve(db, { index: 2 }, caps({ lifetimeAtomic: 299_999 }))).toBe('lifetime');
    expect(await reserve(db, { index: 2 }, caps({ lifetimeAtomic: 300_000 }))).toBe('reserved');
    expect(await reserve(db, { index: 3 }, caps({ rollingDayAtomic: 0 }))).toBe('day');
  });

  it('counts all live attempts of one experiment against its price cap', async () => {
    const db = await seeded(1);
    const limits = caps({ perExperimentAtomic: 250_000 });
    expect(await reserve(db, { index: 0, attempt: 1 }, limits)).toBe('reserved');
    expect(await reserve(db, { index: 0, attempt: 2 }, limits)).toBe('reserved');
    expect(await reserve(db, { index: 0, attempt: 3 }, limits)).toBe('experiment');
    await close(db, 0, 'spent');
    expect(await reserve(db, { index: 0, attempt: 3 }, limits)).toBe('experiment');
    await close(db, 0, 'released', NOW, 2);
    expect(await reserve(db, { index: 0, attempt: 3 }, limits)).toBe('reserved');
  });

  it('takes an attempt once', async () => {
    const db = await seeded(1);
    expect(await reserve(db, { index: 0 }, caps({}))).toBe('reserved');
    await expect(reserve(db, { index: 0 }, caps({}))).rejects.toThrow(/UNIQUE/);
    expect((await sumLedger(db, NOW)).heldAtomic).toBe(100_000n);
  });

  it('lets what is spent leave the day, and what is held never', async () => {
    const db = await seeded(4);
    const limits = caps({ rollingDayAtomic: 200_000, lifetimeAtomic: 300_000 });
    await reserve(db, { index: 0 }, limits);
    await reserve(db, { index: 1 }, limits);
    await close(db, 0, 'spent', NOW + 1_000);
    expect(await reserve(db, { index: 2 }, limits, NOW + 1_000 + DAY_MS - 1)).toBe('day');
    expect(await reserve(db, { index: 2 }, limits, NOW + 1_000 + DAY_MS)).toBe('reserved');
    // The first is a day old and spent; the second is a year old, held, and counts on.
    expect(await reserve(db, { index: 3, value: 1 }, limits, NOW + 365 * DAY_MS)).toBe('day');
    await close(db, 1, 'released', NOW + 365 * DAY_MS);
    expect(await reserve(db, { index: 3 }, limits, NOW + 365 * DAY_MS)).toBe('reserved');
    expect((await sumLedger(db, NOW + 366 * DAY_MS)).spentAtomic).toBe(100_000n);
  });

  it('never gives back what is spent', async () => {
    const db = await seeded(1);
    await reserve(db, { index: 0 }, caps({}));
    await close(db, 0, 'spent');
    await close(db, 0, 'released');
    expect(await sumLedger(db, NOW)).toEqual({ spentAtomic: 100_000n, spentDayAtomic: 100_000n, heldAtomic: 0n });
  });

  it('says which cap, what is used of it, and what helps', () => {
    const error = new OverBudgetError('day', atomicUsdc(50_001), 150_000n, atomicUsdc(150_000));
    expect(error.message).toBe(
      'The worker asks 0.050001 USDC; the budget of 24 hours is 0.15 USDC of which 0.15 are reserved or spent. Nothing was signed or paid.',
    );
    expect(error).toMatchObject({ code: 'over_budget', nextStep: expect.stringContaining('AUTORESEARCH_BUDGET') });
  });
});

describe('whatever happens in whatever order', () => {
  const action = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('reserve' as const), value: fc.integer({ min: 1, max: 90 }) }),
    },
    fc.record({ kind: fc.constantFrom('spent' as const, 'released' as const), index: fc.nat({ max: 29 }) }),
    fc.record({ kind: fc.constant('wait' as const), hours: fc.integer({ min: 1, max: 30 }) }),
  );

  it('reserved and spent stay within every cap, as an independent book has it', { timeout: 60_000 }, async () => {
    const db = await seeded(30);
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 10, maxLength: 25 }), async (actions) => {
        await db.transaction().execute(async (trx) => {
          await trx.deleteFrom('ledger').execute();
          await trx.deleteFrom('attempts').execute();
        });
        const book = new Map<number, { value: number; state: 'held' | 'spent' | 'released'; atMs: number }>();
        const limits = caps({ rollingDayAtomic: 200, lifetimeAtomic: 400, perExperimentAtomic: 80 });
        const sum = (filter: (entry: { state: string; atMs: number }) => boolean) =>
          [...book.values()].filter(filter).reduce((total, { value }) => total + value, 0);
        let nowMs = NOW;
        for (const next of actions) {
          if (next.kind === 'wait') nowMs += next.hours * 3_600_000;
          else if (next.kind === 'reserve') {
            const index = book.size;
            const day = sum(({ state, atMs }) => state === 'held' || (state === 'spent' && atMs > nowMs - DAY_MS));
            const ever = sum(({ state }) => state !== 'released');
            const fits = next.value <= 80 && day + next.value <= 200 && ever + next.value <= 400;
            expect((await reserve(db, { index, value: next.value }, limits, nowMs)) === 'reserved').toBe(fits);
            if (fits) book.set(index, { value: next.value, state: 'held', atMs: nowMs });
          } else {
            await close(db, next.index, next.kind, nowMs);
            const entry = book.get(next.index);
            if (entry?.state === 'held') book.set(next.index, { ...entry, state: next.kind, atMs: nowMs });
          }
          const sums = await sumLedger(db, nowMs);
          expect(sums.heldAtomic).toBe(BigInt(sum(({ state }) => state === 'held')));
          expect(sums.spentAtomic).toBe(BigInt(sum(({ state }) => state === 'spent')));
        }
      }),
      { numRuns: 12 },
    );
  });
});

it('never exceeds a cap and loses no reservation while eight processes race for it', { timeout: 120_000 }, async () => {
  const dataDir = createDataDir();
  const db = await openStore(dataDir);
  await seedExperiments(db, 400);
  const room = 57;
  const counts = await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      runStoreProcess('reserve', dataDir, String(index * 50), '50', String(room * 50_000 + 49_999)),
    ),
  );
  expect(counts.reduce((sum, count) => sum + Number(count), 0)).toBe(room);
  expect((await sumLedger(db, NOW)).heldAtomic).toBe(BigInt(room * 50_000));
  expect(await db.selectFrom('attempts').select('nonce').execute()).toHaveLength(room);
});
