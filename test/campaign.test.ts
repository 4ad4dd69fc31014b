import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Host, Lab } from './harness.ts';

/** Trains nothing: its score says at once what its knobs are worth. SWITCH is off at first, and DEPTH needs it on. */
const SCRIPT = `DEPTH = 4
RATE = 0.02
SWITCH = 0.0
TIME_BUDGET = 300
SEED = 42
import math
depth = 0.01 * abs(DEPTH - (6 if SWITCH > 0 else 4))
print("---")
print(f"val_bpb: {2 + depth + 0.01 * abs(math.log2(RATE / 0.04)) - (0.05 if SWITCH > 0 else 0):.6f}")
`;

let lab: Lab;
let host: Host;

beforeAll(async () => {
  lab = await Lab.open([
    { name: 'One', priceAtomic: 10_000n, slowdownMs: 0 },
    { name: 'Two', priceAtomic: 12_000n, slowdownMs: 0 },
  ]);
  host = await lab.connect();
});

afterAll(async () => {
  await lab?.close();
});

it('designs, pays and judges a whole campaign by itself in mode auto', async () => {
  const started = await host.loop({ action: 'start', train_py: SCRIPT, mode: 'auto', rounds: 8, parallel: 2 });
  const loop = await host.settle(started.loop_id);
  expect(loop).toMatchObject({ state: 'finished', rounds_done: 8, baseline_val_bpb: 2.01 });
  expect(Math.min(...loop.results.flatMap(({ val_bpb }) => val_bpb ?? []))).toBeLessThanOrEqual(1.97);
  const rounds = loop.results.filter(({ description }) => description !== 'baseline');
  expect(rounds.every(({ description }) => /^(DEPTH|RATE|SWITCH) \S+ → \S+/.test(description))).toBe(true);
  expect(rounds.map(({ description }) => description).join()).toContain('SWITCH 0.0 → 0.1');
  const { hypothesis, payment_tx } = await host.finish(rounds[0]?.experiment_id ?? '');
  expect(hypothesis).toMatch(/expected gain/);
  expect(payment_tx).toMatch(/^0x/);
});

it('says so when the built-in proposer knows nothing more', async () => {
  const script = 'DEPTH = 1\nprint("---")\nprint("val_bpb: 2.5")\n';
  const started = await host.loop({ action: 'start', train_py: script, mode: 'auto', rounds: 20 });
  const loop = await host.settle(started.loop_id);
  expect(loop).toMatchObject({ state: 'finished', reason_code: 'nothing_left' });
  expect(loop.rounds_done).toBeLessThan(10);
});
