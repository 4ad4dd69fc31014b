import { expect, inject, it } from 'vitest';
import { runChaos } from './chaos.ts';

/** Far more than it takes on a busy machine with two cores: a guard against hanging. */
const GUARD_MS = 360_000;

it(
  'pays once and keeps every result wherever a server or runner is killed',
  async () => {
    const { violations, killCount, ...report } = await runChaos({
      cli: inject('cli'),
      kills: 40,
      seed: 1,
      lanes: 4,
      sweeps: ['sync'],
      kinds: ['async', 'upfront', 'signer', 'mixed', 'start'],
      firstWrites: [],
    });
    expect(violations).toEqual([]);
    expect(killCount).toBeGreaterThanOrEqual(40);
    expect(report).toMatchObject({ doubleCount: 0, lostCount: 0, overBudgetCount: 0 });
    expect(report.settlementCount).toBe(report.experimentCount);
  },
  GUARD_MS,
);
