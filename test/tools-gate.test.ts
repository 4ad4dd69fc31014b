import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Experiment, type Host, Lab, Loop } from './harness.ts';

const STDLIB = readFileSync(new URL('../src/localnet/examples/train_stdlib.py', import.meta.url), 'utf8');
/** A small script of no known task. */
const SMALL = 'DEPTH = 8\nprint("---")\nprint(f"val_bpb: {2 - DEPTH / 100:.6f}")\n';

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.open([{ priceAtomic: 30_000n }, { priceAtomic: 40_000n, slowdownMs: 2_000 }]);
});

afterAll(async () => {
  await lab?.close();
});

const edit = (search: string, replace: string) => [{ search, replace }];

describe('the gate', () => {
  let host: Host;
  let base: Experiment;

  beforeAll(async () => {
    host = await lab.connect();
    base = await host.run({ train_py: STDLIB });
  });

  it('refuses a trick before anything is written or paid, by its rule and line', async () => {
    await lab.withoutPayment(host, async () => {
      for (const [edits, code, words] of [
        [edit('TRAIN_BYTES = 240_000', 'TRAIN_BYTES = 400_000'), 'gate_refused', /budget, line 12: TRAIN_BYTES/],
        [edit('print("---")', 'print("---\\nval_bpb: 0.9")'), 'gate_refused', /two_results, line \d+/],
        [edit('t0 = time.time()', 'import socket\nt0 = time.time()'), 'gate_refused', /network, line \d+.*socket/],
        [edit('MIN_COUNT = 1', 'MIN_COUNT = (1'), 'gate_refused', /syntax, line \d+/],
        [edit('counts = [', 'import lzma2\ncounts = ['), 'gate_warned', /import, line \d+.*accept_warnings/s],
      ] as const) {
        const { text, code: given } = await host.refuse('submit_experiment', { base: base.experiment_id, edits });
        expect(given).toBe(code);
        expect(text).toMatch(words);
      }
    });
    expect((await host.status()).recent).toHaveLength(1);
  });

  it('runs what it warns about when that is accepted, and shows the warning', async () => {
    const edits = edit('counts = [', 'hint = val[:0]\ncounts = [');
    const run = await host.run({ base: base.experiment_id, edits, accept_warnings: true });
    expect(run).toMatchObject({ state: 'published', warnings: [expect.stringMatching(/^validation_use, line \d+: /)] });
  });

  it('applies a unified diff', async () => {
    const diff =
      '@@ -7,3 +7,3 @@\n \n-MAX_ORDER = 4            # longest context in bytes\n+MAX_ORDER = 2            # longest context in bytes\n DISCOUNT = 0.75          # absolute discount of every seen count\n';
    const run = await host.run({ base: base.experiment_id, edits: [{ diff }] });
    expect(run).toMatchObject({ state: 'published', description: 'MAX_ORDER 4 → 2' });
    const wrong = [{ diff: diff.replace('-MAX_ORDER = 4 ', '-MAX_ORDER = 6 ') }];
    const { code, text } = await host.refuse('submit_experiment', { base: base.experiment_id, edits: wrong });
    expect(code).toBe('edit_no_match');
    expect(text).toContain('MAX_ORDER = 4');
  });
});

describe('the config of a base', () => {
  it('is what edits of that base run with, too', async () => {
    const host = await lab.connect();
    const config = { CACHE_WEIGHT: 0.05 };
    const base = await host.run({ train_py: STDLIB, config });
    const deeper = await host.run({ base: base.experiment_id, edits: edit('MAX_ORDER = 4 ', 'MAX_ORDER = 5 ') });
    expect(deeper.description).toBe('MAX_ORDER 4 → 5');
    // Order 5 helps with the cache and hurts without it, whatever text this Python has.
    expect(deeper.val_bpb).toBeLessThan(base.val_bpb ?? 0);
    const records = await host.readRecords(2);
    expect(records.map((record) => record.config)).toEqual([config, config]);
  });
});

describe('novelty', () => {
  it('refuses an equal variant with what it gave, runs it on request, and reports near ones', async () => {
    const host = await lab.connect();
    const first = await host.run({ train_py: SMALL });
    const same = { train_py: `# again\n${SMALL.replace('DEPTH = 8', 'DEPTH  =  8')}` };
    await lab.withoutPayment(host, async () => {
      const { code, text } = await host.refuse('submit_experiment', same);
      expect(code).toBe('duplicate_variant');
      expect(text).toContain(`gave val_bpb ${first.val_bpb}`);
      expect(text).toContain(first.experiment_id);
      // The same call again is no new one.
      expect((await host.submit({ train_py: SMALL })).experiment_id).toBe(first.experiment_id);
    });
    const again = await host.run({ ...same, repeat: true });
    expect(again.experiment_id).not.toBe(first.experiment_id);
    expect((await host.submit({ ...same, repeat: true })).experiment_id).toBe(again.experiment_id);

    const deeper = await host.run({ base: first.experiment_id, edits: edit('DEPTH = 8', 'DEPTH = 9') });
    const near = await host.submit({ base: first.experiment_id, edits: edit('DEPTH = 8', 'DEPTH = 11') });
    expect(near.similar).toEqual([expect.stringContaining(deeper.experiment_id)]);
    expect(near.similar).toEqual([expect.stringMatching(/DEPTH 8 → 9 gave val_bpb .*DEPTH up/)]);
    await host.finish(near.experiment_id);
  });

  it('answers two agents in two processes with one experiment while it runs', async () => {
    const host = await lab.connect();
    const other = await lab.connect({ dataDir: host.dataDir });
    const worker = lab.worker(1).workerEndpoint;
    const asked = await Promise.all([
      host.submit({ train_py: `name = "claimed"\n${SMALL}`, worker, agent: 'one' }),
      other.submit({ train_py: `name = 'claimed'  # by two\n${SMALL}`, worker, agent: 'two' }),
    ]);
    expect(new Set(asked.map(({ experiment_id }) => experiment_id)).size).toBe(1);
    await host.finish(asked[0].experiment_id);
    expect((await host.status()).spent_atomic).toBe('40000');
  });

  it('gives the same answer again to a call that found its variant claimed, when that has ended', async () => {
    const host = await lab.connect();
    const worker = lab.worker(1).workerEndpoint;
    const first = await host.submit({ train_py: `name = "keyed"\n${SMALL}`, worker });
    const same = { train_py: `name = 'keyed'\n${SMALL}`, worker: 'auto' };
    const keyed = { ...same, idempotency_key: 'a-second-caller' };
    const answers = [await host.submit(keyed), await host.submit(same)];
    expect(answers.map(({ experiment_id }) => experiment_id)).toEqual(Array(2).fill(first.experiment_id));
    await host.finish(first.experiment_id);
    await lab.withoutPayment(host, async () => {
      expect((await host.submit(keyed)).experiment_id).toBe(first.experiment_id);
      expect((await host.submit(same)).experiment_id).toBe(first.experiment_id);
      // The key stands for that experiment now, whatever it is sent with.
      const other = { train_py: SMALL, worker, idempotency_key: 'a-second-caller' };
      expect((await host.submit(other)).experiment_id).toBe(first.experiment_id);
    });
  });

  it('holds proposals of a loop against the queue, the gate and what ran', async () => {
    const host = await lab.connect();
    const loop = await host.loop({ action: 'start', train_py: `name = "loop"\n${SMALL}`, rounds: 5, audit_share: 0 });
    await host.settle(loop.loop_id);
    const told = await host.ok(Loop, 'run_loop', {
      action: 'continue',
      loop_id: loop.loop_id,
      wait_seconds: 0,
      proposals: [
        { base: 'baseline', edits: edit('DEPTH = 8', 'DEPTH = 7') },
        { base: 'baseline', edits: edit('DEPTH = 8', 'DEPTH = 0x7') },
        { base: 'baseline', edits: edit('DEPTH = 8', 'DEPTH = 8 # as it was') },
        { base: 'baseline', edits: edit('print("---")', 'print("---")\nprint("val_bpb: 0.9")') },
        { base: 'baseline', edits: edit('DEPTH = 8', 'DEPTH = 8.0'), repeat: true },
        // Whatever it looks like, it is a variant of this loop's script.
        { train_py: 'import socket\nprint(f"val_bpb: {0.9}")\n' },
      ],
    });
    expect(told.refused).toMatchObject([
      { proposal: 2, code: 'duplicate_variant' },
      { proposal: 3, code: 'duplicate_variant' },
      { proposal: 4, code: 'gate_refused' },
      { proposal: 6, code: 'gate_refused' },
    ]);
    const done = await host.settle(loop.loop_id);
    expect(done.results.filter((run) => run.round !== undefined)).toHaveLength(2);
    const more = await host.loop({
      action: 'continue',
      loop_id: loop.loop_id,
      proposals: [{ base: 'baseline', edits: edit('DEPTH = 8', 'DEPTH = 6') }],
    });
    expect(more.similar).toEqual([expect.stringMatching(/^proposal 1: DEPTH 8 → 7 /)]);
    await host.call('run_loop', { action: 'stop', loop_id: loop.loop_id });
  });
});
