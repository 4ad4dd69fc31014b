import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openStore, seedExperiments } from '../../test/store-seed.ts';
import { atomicUsdc } from '../base/money.ts';
import { isWorthStarting, loadOutlook, type Pace } from './patience.ts';

const PRICE = atomicUsdc(50_000);
const MINUTE = 60_000;

/** Ends of a run on a fast and a slow worker, of which the fast one is busy for some minutes more. */
function ask(busyMinutes: number, waiting: number, fastPrice = PRICE): boolean {
  const paces = new Map<string, Pace>([
    ['slow', { freeAtMs: 0, runMs: 11 * MINUTE, priceAtomic: PRICE }],
    ['fast', { freeAtMs: busyMinutes * MINUTE, runMs: 5 * MINUTE, priceAtomic: fastPrice }],
  ]);
  return isWorthStarting({ endpoint: 'slow', priceAtomic: PRICE }, ['fast'], { waiting, paces }, 0);
}

describe('whether to start on a slow worker', () => {
  it.each([
    ['that ends later than a busy one would', 2, 1, PRICE, false],
    ['while more waits than the busy one could do by then', 2, 2, PRICE, true],
    ['that is cheaper than the busy one', 2, 1, atomicUsdc(60_000), true],
    ['while the other should have ended long ago', -2, 1, PRICE, true],
    ['rather than wait longer than anything waits', 5.5, 1, PRICE, true],
  ] as const)('%s', (_what, busyMinutes, waiting, fastPrice, expected) => {
    expect(ask(busyMinutes, waiting, fastPrice)).toBe(expected);
  });

  it('of which nothing is known: at once', () => {
    const paces = new Map<string, Pace>([['fast', { freeAtMs: 0, runMs: 1, priceAtomic: PRICE }]]);
    expect(isWorthStarting({ endpoint: 'new', priceAtomic: PRICE }, ['fast'], { waiting: 1, paces }, 0)).toBe(true);
  });

  it('ends a wave of equal runs as early as any schedule can', () => {
    const fleet = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(fleet, fc.integer({ min: 1, max: 60 }), (durations, runs) => {
        expect(simulate(durations, runs)).toBe(findShortest(durations, runs));
      }),
      { numRuns: 300 },
    );
  });
});

/** The time when the last of so many equal runs ends, each given to the fastest free worker that is worth starting. */
function simulate(durations: readonly number[], runs: number): number {
  const freeAt = durations.map(() => 0);
  let waiting = runs;
  for (let now = 0; ; now += 1) {
    const order = durations.map((_, index) => index).toSorted((a, b) => (durations[a] ?? 0) - (durations[b] ?? 0));
    for (const index of order) {
      if (waiting === 0) return Math.max(...freeAt);
      if ((freeAt[index] ?? 0) > now) continue;
      const paces = new Map(
        durations.map((runMs, other) => [String(other), { runMs, freeAtMs: freeAt[other] ?? 0, priceAtomic: PRICE }]),
      );
      const busy = order.filter((other) => (freeAt[other] ?? 0) > now).map(String);
      const free = { endpoint: String(index), priceAtomic: PRICE };
      if (!isWorthStarting(free, busy, { waiting, paces }, now)) continue;
      freeAt[index] = now + (durations[index] ?? 0);
      waiting -= 1;
    }
  }
}

function findShortest(durations: readonly number[], runs: number): number {
  let time = 0;
  while (durations.reduce((sum, duration) => sum + Math.floor(time / duration), 0) < runs) time += 1;
  return time;
}

it('is told from the store when busy workers end and how much waits', async () => {
  const db = await openStore();
  const [running = '', ...others] = await seedExperiments(db, 3);
  await db.insertInto('slots').values({ worker_endpoint: 'busy', experiment_id: running, until: 9_000 }).execute();
  await db
    .insertInto('attempts')
    .values({
      experiment_id: running,
      attempt: 0,
      worker_endpoint: 'busy',
      chain_id: 1,
      value: 1,
      terms: '{}',
      state: 'sent',
      sends: 1,
      first_sent_at: 1_000,
      created_at: 0,
      updated_at: 0,
    })
    .execute();
  const usual = new Map([
    ['busy', { seconds: 5, priceAtomic: PRICE, isJob: false }],
    ['free', { seconds: 7, priceAtomic: PRICE, isJob: true }],
  ]);
  expect(await loadOutlook(db, usual, 2_000)).toEqual({
    waiting: others.length,
    paces: new Map([
      ['busy', { freeAtMs: 6_000, runMs: 5_000, priceAtomic: PRICE }],
      ['free', { freeAtMs: 2_000, runMs: 7_000, priceAtomic: PRICE }],
    ]),
  });
});
