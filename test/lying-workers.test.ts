// Workers that run what they are sent and then say something else: through the real tools, chain and payments.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import type { Answerer, WireResult } from '../src/localnet/worker.ts';
import { type Host, Lab, type Loop } from './harness.ts';

const SCRIPT = ['LEVEL = 0', 'SPARE = 0', 'print("---")', 'print(f"val_bpb: {2 + LEVEL / 100:.6f}")', ''].join('\n');
const GOOD = { edits: [{ search: 'LEVEL = 0', replace: 'LEVEL = -2' }] };
/** Worse than both, with one line less. */
const BAD = { base: 'baseline', edits: [{ search: 'LEVEL = 0\nSPARE = 0', replace: 'LEVEL = 3' }] };

/** A careful liar, whose summary says the same. */
const say = (result: WireResult, score: number): WireResult => ({
  ...result,
  val_bpb: score,
  metrics: { ...result.metrics, val_bpb: score },
});

/** Tells the truth until it has something to gain from a lie. */
const LIES: Readonly<Record<string, Answerer>> = {
  fabricated: (result, earlier) => (earlier.length < 2 ? result : say(result, 1.9314)),
  shaved: (result, earlier) => (earlier.length < 2 ? result : say(result, (result.val_bpb ?? 0) - 0.06)),
  copied: (result, earlier) => (earlier.length < 2 ? result : say(result, earlier[1]?.val_bpb ?? 0)),
};

const Workers = z.looseObject({
  workers: z
    .array(z.object({ worker_endpoint: z.string(), standing: z.string(), standing_because: z.string() }))
    .default([]),
});

let lab: Lab;

beforeAll(async () => {
  const liars = Object.values(LIES).map((answer, index) => ({
    name: `Liar ${index}`,
    priceAtomic: 10_000n,
    slowdownMs: 0,
    answer: (...args: Parameters<Answerer>) => answer(...args),
  }));
  const honest = [40_000n, 50_000n].map((priceAtomic) => ({ priceAtomic, slowdownMs: 0 }));
  lab = await Lab.open([...liars, ...honest]);
});

afterAll(async () => {
  await lab?.close();
});

async function runLoop(host: Host, prefer: string): Promise<Loop> {
  const { loop_id } = await host.loop({ action: 'start', train_py: SCRIPT, rounds: 2, prefer, audit_share: 0 });
  await host.settle(loop_id);
  await host.loop({ action: 'continue', loop_id, proposals: [GOOD] });
  await host.settle(loop_id);
  await host.loop({ action: 'continue', loop_id, proposals: [BAD] });
  return host.settle(loop_id);
}

describe.each(Object.keys(LIES).map((kind, index) => [kind, index] as const))('a %s score', (kind, index) => {
  it('never becomes a champion; who gave it loses its standing', async () => {
    const liar = lab.worker(index).workerEndpoint;
    const others = Object.keys(LIES).flatMap((_, other) => (other === index ? [] : [lab.worker(other).workerEndpoint]));
    const host = await lab.connect({ env: { AUTORESEARCH_BLOCKED_WORKERS: others.join(',') } });
    const loop = await runLoop(host, liar);
    const [good, bad] = loop.results.filter(({ round }) => round !== undefined);
    expect(bad).toMatchObject({ worker_endpoint: liar, verdict: kind === 'copied' ? 'KEEP-SIMPLER' : 'KEEP' });
    // The honest gain, which another worker confirmed, stays champion.
    expect(loop.state).toBe('finished');
    expect(loop.best).toEqual({ experiment_id: good?.experiment_id, val_bpb: 1.98, verified: true });

    const records = await host.readRecords(loop.results.length);
    const repeats = records.filter(({ audit_of }) => audit_of === bad?.experiment_id);
    expect(repeats.map(({ role, verification }) => [role, verification])).toEqual([
      ['confirmation', 'refuted'],
      ['audit', expect.stringMatching(/agrees|contradicts/)],
    ]);
    expect(new Set(repeats.map(({ worker_endpoint }) => worker_endpoint)).size).toBe(2);
    expect(records.find(({ audit_of }) => audit_of === good?.experiment_id)).toMatchObject({
      role: 'confirmation',
      verification: 'confirmed',
      val_bpb: 1.98,
    });
    const { workers } = await host.ok(Workers, 'get_status', {});
    expect(workers).toEqual([
      { worker_endpoint: liar, standing: expect.any(String), standing_because: expect.stringContaining('agreed') },
    ]);
    // The rest are the baseline and two rounds.
    expect(loop.extra_runs).toBe(loop.results.length - 3);
  });
});
