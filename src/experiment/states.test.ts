import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canTransition, EXPERIMENT_STATES, type ExperimentState, isCancellable, isFinal } from './states.ts';

/** States that an experiment can pass to. */
const nextOf = (state: ExperimentState) => EXPERIMENT_STATES.filter((to) => canTransition(state, to));

/** A walk through the states, as far as it goes: every number picks one of the ways that there are. */
function walk(choices: readonly number[]): ExperimentState[] {
  const path: ExperimentState[] = ['drafted'];
  for (const choice of choices) {
    const ways = nextOf(path.at(-1) ?? 'drafted');
    const next = ways[choice % Math.max(ways.length, 1)];
    if (next) path.push(next);
  }
  return path;
}

describe('the life of an experiment', () => {
  it('comes to a second signature only through another claim', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 10, maxLength: 60 }), (choices) => {
        const path = walk(choices);
        const signings = path.flatMap((state, index) => (state === 'signed' ? [index] : []));
        for (const [number, index] of signings.entries()) {
          const before = path.slice(number === 0 ? 0 : (signings[number - 1] ?? 0) + 1, index);
          expect(before).toContain('claimed');
          expect(before.slice(before.lastIndexOf('claimed'))).toEqual(['claimed', 'quoted', 'reserved']);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it('sends nothing that is not signed, and judges nothing that no worker answered', () => {
    for (const state of EXPERIMENT_STATES) {
      if (canTransition(state, 'sent')) expect(state).toBe('signed');
      if (canTransition(state, 'signed')) expect(state).toBe('reserved');
      if (canTransition(state, 'judged')) expect(['returned', 'accepted']).toContain(state);
      if (canTransition(state, 'published')) expect(state).toBe('judged');
    }
  });

  it('can end from everywhere, and ends for ever', () => {
    for (const start of EXPERIMENT_STATES) {
      const reached = new Set<ExperimentState>([start]);
      for (const state of reached) for (const next of nextOf(state)) reached.add(next);
      expect([...reached].some(isFinal), start).toBe(true);
    }
    expect(EXPERIMENT_STATES.filter(isFinal)).toEqual([
      'published',
      'refused',
      'failed',
      'unpaid',
      'lost',
      'cancelled',
    ]);
  });

  it('is cancelled before anything is signed, and refused before anything is sent', () => {
    expect(EXPERIMENT_STATES.filter(isCancellable)).toEqual(['drafted', 'claimed', 'quoted', 'reserved']);
    for (const state of EXPERIMENT_STATES) {
      if (canTransition(state, 'refused'))
        expect(['drafted', 'claimed', 'quoted', 'reserved', 'signed']).toContain(state);
    }
  });
});
