import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { type Host, Lab, Quote, scoreScript } from './harness.ts';
import { readPayerKey, StockPayer } from './localnet-client.ts';

const [CHEAP, SLOW, PLAIN, DEAR] = [0, 1, 2, 3];
const Total = z.looseObject({ total: z.number() });
const Found = z.looseObject({ workers: z.array(z.looseObject({ worker_id: z.string().optional() })) });

let lab: Lab;
/** A server that most refusals are asked of: it never pays anything. */
let host: Host;
let workFolder: string;

beforeAll(async () => {
  lab = await Lab.open([
    { priceAtomic: 20_000n, slowdownMs: 0 },
    { priceAtomic: 30_000n, slowdownMs: 4_000 },
    { priceAtomic: 50_000n, slowdownMs: 0 },
    { priceAtomic: 80_000n, slowdownMs: 0 },
  ]);
  workFolder = lab.createFolder();
  host = await lab.connect({ cwd: workFolder });
});

afterAll(async () => {
  await lab?.close();
});

function endpoint(index: number): string {
  return lab.worker(index).workerEndpoint;
}

/** How often the payer paid a worker so far, whoever held its key. */
async function countPayments(index: number): Promise<number> {
  const { payTo } = lab.worker(index);
  return (await lab.transfers()).filter(({ to }) => to.toLowerCase() === payTo.toLowerCase()).length;
}

/** Has somebody else keep a worker busy with a run of its own. */
async function occupy(index: number): Promise<{ done: Promise<unknown> }> {
  const paid = new StockPayer(readPayerKey(lab.network)).pay(endpoint(index), {
    train_py: scoreScript('2.5', 'foreign'),
  });
  await expect.poll(() => lab.worker(index).isBusy(), { timeout: 10_000 }).toBe(true);
  return { done: paid };
}

describe('without a key', () => {
  it('reading tools work, and paid ones say how to configure a wallet', async () => {
    const keyless = await lab.connect({ without: ['AUTORESEARCH_PRIVATE_KEY_FILE'] });
    await lab.withoutPayment(keyless, async () => {
      expect((await keyless.status()).payer).toBeUndefined();
      const { workers } = await keyless.ok(z.looseObject({ workers: z.array(z.unknown()) }), 'discover_workers', {
        with_prices: true,
      });
      expect(workers).toHaveLength(4);
      await keyless.ok(Quote, 'probe_worker', { worker: endpoint(PLAIN) });
      expect((await keyless.ok(Total, 'get_leaderboard', {})).total).toBe(0);
      const script = scoreScript('1.5');
      for (const refused of [
        await keyless.refuse('submit_experiment', { train_py: script }),
        await keyless.refuse('submit_experiment', { train_py: script, worker: endpoint(PLAIN) }),
        await keyless.refuse('run_loop', { action: 'start', train_py: script }),
      ]) {
        expect(refused.code).toBe('no_wallet');
        expect(refused.text).toContain('AUTORESEARCH_PRIVATE_KEY_FILE');
        expect(refused.text).toContain('Nothing was signed or paid.');
      }
    });
    expect((await keyless.status()).recent).toEqual([]);
  });
});

describe('a cap', () => {
  it('on the price of one experiment refuses a named worker in the call and an automatic choice in the experiment', async () => {
    const thrifty = await lab.connect({ env: { AUTORESEARCH_MAX_PRICE: '0.01' } });
    await lab.withoutPayment(thrifty, async () => {
      const train_py = scoreScript('1.5', 'over the cap');
      const named = await thrifty.refuse('submit_experiment', { train_py, worker: endpoint(PLAIN) });
      expect(named.code).toBe('over_price_cap');
      expect(named.text).toContain('0.05 USDC');
      expect(named.text).toContain('Nothing was signed or paid.');
      const auto = await thrifty.run({ train_py });
      expect(auto).toMatchObject({ state: 'refused', settlement: 'none', reason_code: 'over_price_cap' });
      expect(auto.reason).toContain('0.02 USDC');
      expect(auto.payment_tx).toBeUndefined();
    });
    expect(lab.network.workers.map(({ runCount }) => runCount())).toEqual([0, 0, 0, 0]);
  });

  it('that the caller sets holds as well, and cannot raise that of the operator', async () => {
    const thrifty = await lab.connect({ env: { AUTORESEARCH_MAX_PRICE: '0.06' } });
    await lab.withoutPayment(thrifty, async () => {
      const train_py = scoreScript('1.5', 'own cap');
      const own = { train_py, worker: endpoint(PLAIN), max_price_usdc: 0.04 };
      expect((await thrifty.refuse('submit_experiment', own)).code).toBe('over_price_cap');
      const raised = { train_py, worker: endpoint(DEAR), max_price_usdc: 5 };
      expect((await thrifty.refuse('submit_experiment', raised)).code).toBe('over_price_cap');
      const quote = await thrifty.ok(Quote, 'probe_worker', { worker: endpoint(DEAR) });
      expect(quote.within_budget).toBe(false);
      expect((await thrifty.refuse('submit_experiment', { train_py, quote_id: quote.quote_id })).code).toBe(
        'over_price_cap',
      );
    });
  });

  it('on the day is used up by what was paid, for named and automatic workers and for loops', async () => {
    const thrifty = await lab.connect({ env: { AUTORESEARCH_BUDGET: '0.05' } });
    const first = { train_py: scoreScript('1.5', 'uses up the day'), worker: endpoint(PLAIN) };
    const paid = await thrifty.run(first);
    expect(paid).toMatchObject({ state: 'published', settlement: 'settled' });
    await lab.withoutPayment(thrifty, async () => {
      const train_py = scoreScript('1.6', 'comes too late');
      const named = await thrifty.refuse('submit_experiment', { train_py, worker: endpoint(CHEAP) });
      expect(named.code).toBe('over_budget');
      expect(named.text).toContain('Nothing was signed or paid.');
      expect(await thrifty.run({ train_py })).toMatchObject({ state: 'refused', reason_code: 'over_budget' });
      expect((await thrifty.refuse('run_loop', { action: 'start', train_py })).code).toBe('over_budget');
      // What is paid already costs nothing more: the repeat is the same experiment.
      expect((await thrifty.submit(first)).experiment_id).toBe(paid.experiment_id);
    });
  });
});

describe('a worker that is busy with a run of somebody else', () => {
  it('is passed over by an automatic choice, which pays the next one once', async () => {
    const other = await lab.connect({ env: { AUTORESEARCH_BLOCKED_WORKERS: endpoint(CHEAP) } });
    await other.call('discover_workers', { with_prices: true });
    const before = [await countPayments(SLOW), await countPayments(PLAIN)];
    const foreign = await occupy(SLOW);
    const done = await other.run({ train_py: scoreScript('1.5', 'next one') });
    expect(done).toMatchObject({ state: 'published', worker_endpoint: endpoint(PLAIN), attempt: 1 });
    await foreign.done;
    expect([await countPayments(SLOW), await countPayments(PLAIN)]).toEqual([
      (before[0] ?? 0) + 1,
      (before[1] ?? 0) + 1,
    ]);
    expect((await other.status()).spent_atomic).toBe('50000');
  });

  it('is waited for when it was named, and paid once', async () => {
    const other = await lab.connect();
    const before = await countPayments(SLOW);
    const foreign = await occupy(SLOW);
    const submitted = await other.submit({ train_py: scoreScript('1.5', 'waits'), worker: endpoint(SLOW) });
    const done = await other.finish(submitted.experiment_id);
    await foreign.done;
    expect(done).toMatchObject({ state: 'published', worker_endpoint: endpoint(SLOW), val_bpb: 1.5 });
    expect(await countPayments(SLOW)).toBe(before + 2);
    expect((await other.status()).spent_atomic).toBe('30000');
  });

  it('leaves time to cancel: nothing is signed then', async () => {
    const other = await lab.connect();
    const foreign = await occupy(SLOW);
    const before = await countPayments(SLOW);
    const { experiment_id } = await other.submit({ train_py: scoreScript('1.5', 'cancelled'), worker: endpoint(SLOW) });
    const cancelled = await other.ok(z.looseObject({ state: z.string() }), 'get_experiment', {
      experiment_id,
      cancel: true,
    });
    expect(cancelled.state).toBe('cancelled');
    await foreign.done;
    expect(await other.status()).toMatchObject({ spent_atomic: '0', reserved_atomic: '0', in_flight: [] });
    expect(await countPayments(SLOW)).toBe(before + 1);
  });
});

describe('a run without a usable score', () => {
  it('that fails is paid, recorded and never ranked', async () => {
    const other = await lab.connect();
    const done = await other.run({
      train_py: 'import sys\nprint("---")\nprint("val_bpb: 0.9")\nsys.exit(1)\n',
      worker: endpoint(PLAIN),
    });
    expect(done).toMatchObject({
      state: 'failed',
      settlement: 'settled',
      verdict: 'FAILED',
      reason_code: 'run_failed',
    });
    expect(done.val_bpb).toBeUndefined();
    expect((await lab.readTransfer(done.payment_tx ?? '')).value).toBe(50_000n);
    const [record] = await other.readRecords(1);
    expect(record).toMatchObject({ experiment_id: done.experiment_id, val_bpb: null, verdict: 'FAILED' });
    expect((await other.ok(Total, 'get_leaderboard', {})).total).toBe(0);
  });

  it('that prints none, or one that cannot be, is invalid and never ranked', async () => {
    const other = await lab.connect();
    const silent = await other.run({ train_py: 'print("done")\n', worker: endpoint(PLAIN) });
    expect(silent).toMatchObject({ verdict: 'INVALID', reason_code: 'no_score', settlement: 'settled' });
    expect(silent.val_bpb).toBeUndefined();
    const wild = await other.run({ train_py: scoreScript('0.0001'), worker: endpoint(PLAIN) });
    expect(wild.verdict).toBe('INVALID');
    expect((await other.ok(Total, 'get_leaderboard', {})).total).toBe(0);
  });

  it('ends a loop whose unchanged script fails, with the reason', async () => {
    const other = await lab.connect();
    const { loop_id } = await other.loop({
      action: 'start',
      train_py: 'raise SystemExit(3)\n',
      prefer: endpoint(PLAIN),
    });
    const loop = await other.settle(loop_id);
    expect(loop).toMatchObject({ state: 'failed', rounds_done: 0, reason_code: 'baseline_failed' });
    expect(loop.reason).toContain('exit code 3');
    expect(loop.best).toBeUndefined();
  });
});

describe('arguments that cannot be used', () => {
  const script = scoreScript('1.5', 'never runs');
  const unused = 'exp-20260101-0123456789abcdef';
  const loop = 'loop-20260101-0123456789abcdef';
  const cases: readonly (readonly [string, string, Record<string, unknown>, string, RegExp])[] = [
    ['an unknown one, by its name', 'submit_experiment', { train_py: script, budgt: 5 }, 'bad_arguments', /"budgt"/],
    ['an unknown one of a tool without any', 'get_status', { verbose: true }, 'bad_arguments', /"verbose"/],
    [
      'an unknown one inside an edit',
      'submit_experiment',
      { base: unused, edits: [{ search: 'a', replace: 'b', count: 2 }] },
      'bad_arguments',
      /"count" in edits\.0/,
    ],
    [
      'an unknown one inside a proposal',
      'run_loop',
      { action: 'continue', loop_id: loop, proposals: [{ edit: [] }] },
      'bad_arguments',
      /"edit" in proposals\.0/,
    ],
    [
      'a number as text',
      'submit_experiment',
      { train_py: script, max_price_usdc: '0.1' },
      'bad_arguments',
      /max_price_usdc/,
    ],
    ['a text as number', 'probe_worker', { worker: 7 }, 'bad_arguments', /worker/],
    [
      'a negative price',
      'submit_experiment',
      { train_py: script, max_price_usdc: -1 },
      'bad_arguments',
      /max_price_usdc/,
    ],
    ['a config that is no object', 'submit_experiment', { train_py: script, config: [1] }, 'bad_arguments', /config/],
    [
      'a key that is too short',
      'submit_experiment',
      { train_py: script, idempotency_key: 'abc' },
      'bad_arguments',
      /idempotency_key/,
    ],
    ['an unknown action', 'run_loop', { action: 'pause', loop_id: loop }, 'bad_arguments', /action/],
    ['a missing worker', 'probe_worker', {}, 'bad_arguments', /worker/],
    ['a missing experiment', 'get_experiment', {}, 'bad_arguments', /experiment_id/],
    ['a missing action', 'run_loop', {}, 'bad_arguments', /action/],
    ['a missing loop', 'run_loop', { action: 'status' }, 'bad_arguments', /loop_id/],
    ['missing proposals', 'run_loop', { action: 'continue', loop_id: loop }, 'bad_arguments', /proposals/],
    ['no program', 'submit_experiment', {}, 'bad_variant', /exactly one/],
    ['no program of a loop', 'run_loop', { action: 'start' }, 'bad_variant', /exactly one/],
    ['two programs', 'submit_experiment', { train_py: script, train_path: 'train.py' }, 'bad_variant', /2 were given/],
    [
      'a program and a base',
      'submit_experiment',
      { train_py: script, base: 'champion' },
      'bad_variant',
      /2 were given/,
    ],
    ['an empty source', 'submit_experiment', { train_py: ' \n' }, 'bad_variant', /empty/],
    ['a source with NUL', 'submit_experiment', { train_py: 'a\0b' }, 'bad_variant', /NUL/],
    [
      'a source of too many bytes',
      'submit_experiment',
      { train_py: 'é'.repeat(300_000) },
      'bad_variant',
      /600000 bytes/,
    ],
    [
      'a source of too many characters',
      'submit_experiment',
      { train_py: 'x'.repeat(600_000) },
      'bad_arguments',
      /train_py/,
    ],
    [
      'a config that is too large',
      'submit_experiment',
      { train_py: script, config: { a: 'x'.repeat(20_000) } },
      'bad_variant',
      /16 kB/,
    ],
    ['an unknown experiment', 'get_experiment', { experiment_id: unused }, 'unknown_experiment', /exp-20260101/],
    [
      'an unknown experiment to cancel',
      'get_experiment',
      { experiment_id: unused, cancel: true },
      'unknown_experiment',
      /exp-20260101/,
    ],
    ['an unknown base', 'submit_experiment', { base: unused, edits: [] }, 'unknown_base', /exp-20260101/],
    [
      'a champion that there is not yet',
      'submit_experiment',
      { base: 'champion', edits: [] },
      'unknown_base',
      /champion/,
    ],
    ['an unknown loop', 'run_loop', { action: 'status', loop_id: loop }, 'unknown_loop', /loop-20260101/],
    ['an unknown loop to stop', 'run_loop', { action: 'stop', loop_id: loop }, 'unknown_loop', /loop-20260101/],
    ['an unknown quote', 'submit_experiment', { train_py: script, quote_id: 'quote-0' }, 'unknown_quote', /quote-0/],
    ['an unknown worker', 'probe_worker', { worker: '84532:0x0:99' }, 'unknown_worker', /84532:0x0:99/],
    [
      'an unknown worker to run on',
      'submit_experiment',
      { train_py: script, worker: 'rig7' },
      'unknown_worker',
      /rig7/,
    ],
    ['an address that is none', 'probe_worker', { worker: 'http://user:pw@host/' }, 'bad_endpoint', /not the address/],
    ['a cursor that is none', 'discover_workers', { cursor: 'abc' }, 'bad_cursor', /abc/],
    ['a cursor of the ranking that is none', 'get_leaderboard', { cursor: '-1' }, 'bad_cursor', /-1/],
    ['a file that is not there', 'submit_experiment', { train_path: 'no.py' }, 'bad_train_path', /does not exist/],
    ['a folder as file', 'submit_experiment', { train_path: '.' }, 'bad_train_path', /not a file/],
  ];

  it.each(cases)('are refused: %s', async (_what, tool, args, code, pattern) => {
    const refused = await lab.withoutPayment(host, () => host.refuse(tool, args));
    expect(refused.code).toBe(code);
    expect(refused.text).toMatch(pattern);
    expect((await host.status()).recent).toEqual([]);
  });

  it('are refused: a worker that the operator never wants, by address, id and preference', async () => {
    const { workerEndpoint, agentId } = lab.worker(0);
    const strict = await lab.connect({ env: { AUTORESEARCH_BLOCKED_WORKERS: workerEndpoint } });
    const { workers } = await strict.ok(Found, 'discover_workers', { include_unreachable: true });
    const id = workers.map(({ worker_id }) => worker_id).find((name) => name?.endsWith(`:${agentId}`));
    await lab.withoutPayment(strict, async () => {
      for (const [tool, args] of [
        ['submit_experiment', { train_py: script, worker: workerEndpoint }],
        ['submit_experiment', { train_py: script, worker: id }],
        ['probe_worker', { worker: workerEndpoint }],
        ['run_loop', { action: 'start', train_py: script, prefer: workerEndpoint }],
      ] as const) {
        const { code, text } = await strict.refuse(tool, args);
        expect(code).toBe('blocked_worker');
        expect(text).toContain('AUTORESEARCH_BLOCKED_WORKERS');
      }
    });
    expect((await strict.status()).recent).toEqual([]);
  });

  it('are refused: a file outside the working directory, also through links', async () => {
    const outside = lab.createFolder();
    writeFileSync(join(outside, 'train.py'), script);
    symlinkSync(join(outside, 'train.py'), join(workFolder, 'link.py'));
    symlinkSync(outside, join(workFolder, 'folder'));
    mkdirSync(join(workFolder, 'sub'));
    for (const train_path of [join(outside, 'train.py'), '../train.py', 'link.py', 'folder/train.py', '/etc/passwd']) {
      const refused = await lab.withoutPayment(host, () => host.refuse('submit_experiment', { train_path }));
      expect(refused.code).toBe('bad_train_path');
    }
    const outsideToo = await host.refuse('run_loop', { action: 'start', train_path: 'link.py' });
    expect(outsideToo.code).toBe('bad_train_path');
    expect((await host.status()).recent).toEqual([]);
  });

  it('are refused: a file that is not UTF-8 or too large', async () => {
    writeFileSync(join(workFolder, 'latin1.py'), Buffer.from([0x23, 0xe9, 0x0a]));
    writeFileSync(join(workFolder, 'large.py'), 'x'.repeat(600_000));
    expect((await host.refuse('submit_experiment', { train_path: 'latin1.py' })).text).toContain('not UTF-8');
    expect((await host.refuse('submit_experiment', { train_path: 'large.py' })).text).toContain('600000 bytes');
  });
});

describe('edits', () => {
  it('that do not match name the nearest lines, and ambiguous ones where they match', async () => {
    const other = await lab.connect();
    const base = await other.run({
      train_py: 'DEPTH = 8\nWIDTH = 8\nprint("val_bpb: 1.5")\n',
      worker: endpoint(PLAIN),
    });
    await lab.withoutPayment(other, async () => {
      const submit = (...edits: readonly object[]) =>
        other.refuse('submit_experiment', { base: base.experiment_id, edits, worker: endpoint(PLAIN) });
      const missed = await submit({ search: 'DEPTH = 9', replace: 'DEPTH = 10' });
      expect(missed.code).toBe('edit_no_match');
      expect(missed.text).toContain('line 1: "DEPTH = 8"');
      expect(missed.text).toContain('Nothing was submitted.');
      const twice = await submit({ search: ' = 8', replace: ' = 9' });
      expect(twice.code).toBe('edit_ambiguous');
      expect(twice.text).toContain('lines 1 and 2');
      const second = await submit({ search: 'DEPTH = 8', replace: 'DEPTH = 9' }, { search: 'DEPTH = 8', replace: '' });
      expect(second.text).toContain('Edit 2');
    });
    expect((await other.status()).recent).toHaveLength(1);
  });
});

describe('a repeated submission', () => {
  it('is the same experiment and one payment, even when the client gave up in between', async () => {
    const other = await lab.connect();
    const before = await countPayments(SLOW);
    const args = { train_py: scoreScript('1.5', 'impatient'), worker: endpoint(SLOW), wait_seconds: 30 };
    await expect(other.call('submit_experiment', args, { timeout: 300 })).rejects.toMatchObject({ code: -32001 });
    const [second, third] = await Promise.all([
      other.submit({ ...args, wait_seconds: 0 }),
      other.submit({ ...args, wait_seconds: 0 }),
    ]);
    expect(third.experiment_id).toBe(second.experiment_id);
    expect(await other.finish(second.experiment_id)).toMatchObject({ state: 'published', attempt: 1 });
    expect((await other.submit(args)).experiment_id).toBe(second.experiment_id);
    expect((await other.status()).recent).toHaveLength(1);
    expect(await countPayments(SLOW)).toBe(before + 1);
    expect((await other.status()).spent_atomic).toBe('30000');
  });

  it('is found by its key although the champion that it was based on has changed', async () => {
    const other = await lab.connect();
    await other.run({ train_py: 'D = 5\nprint(f"val_bpb: {2 - D / 100}")\n', worker: endpoint(PLAIN) });
    const args = {
      base: 'champion',
      edits: [{ search: 'D = 5', replace: 'D = 6' }],
      idempotency_key: 'key-of-the-caller',
      worker: endpoint(PLAIN),
    };
    const first = await other.run(args);
    expect(first.verdict).toBe('KEEP');
    expect((await other.submit(args)).experiment_id).toBe(first.experiment_id);
    expect((await other.status()).spent_atomic).toBe('100000');
  });

  it('with another config is another experiment', async () => {
    const other = await lab.connect();
    const reader = `${scoreScript('1.5', 'two configs')}# reads AUTORESEARCH_EXPERIMENT_CONFIG\n`;
    const script = { train_py: reader, worker: endpoint(PLAIN) };
    const first = await other.submit(script);
    const second = await other.submit({ ...script, config: { a: 1 } });
    expect(second.experiment_id).not.toBe(first.experiment_id);
    await Promise.all([other.finish(first.experiment_id), other.finish(second.experiment_id)]);
    expect((await other.status()).spent_atomic).toBe('100000');
  });

  it('of a loop that was just started is that loop', async () => {
    const other = await lab.connect();
    const train_py = scoreScript('1.5', 'one loop');
    const start = { action: 'start', train_py, prefer: endpoint(PLAIN), audit_share: 0 };
    await expect(other.call('run_loop', { ...start, wait_seconds: 30 }, { timeout: 50 })).rejects.toMatchObject({
      code: -32001,
    });
    const again = await other.loop(start);
    await other.settle(again.loop_id);
    expect((await other.status()).loops).toHaveLength(1);
    expect((await other.status()).recent).toHaveLength(1);
  });
});

describe('an experiment that is over', () => {
  it('cannot be cancelled', async () => {
    const other = await lab.connect();
    const { experiment_id } = await other.run({ train_py: scoreScript('1.5', 'over'), worker: endpoint(PLAIN) });
    const refused = await other.refuse('get_experiment', { experiment_id, cancel: true });
    expect(refused.code).toBe('not_cancellable');
    expect(refused.text).toContain('published');
  });
});

describe('a quote', () => {
  it('of one worker does not buy a run of another', async () => {
    const quote = await host.ok(Quote, 'probe_worker', { worker: endpoint(PLAIN) });
    const args = { train_py: scoreScript('1.5'), quote_id: quote.quote_id, worker: endpoint(DEAR) };
    const refused = await lab.withoutPayment(host, () => host.refuse('submit_experiment', args));
    expect(refused.code).toBe('quote_of_other_worker');
  });
});

// Last, since the network has one worker less afterwards.
describe('a worker that is down', () => {
  it('is refused when it is named, and replaced by another when it was the best automatic choice', async () => {
    const other = await lab.connect();
    await other.call('discover_workers', { with_prices: true });
    const done = { train_py: scoreScript('1.5', 'before it went'), worker: endpoint(CHEAP) };
    const before = await other.run(done);
    await lab.worker(CHEAP).stop();

    const named = { train_py: scoreScript('1.5', 'too late'), worker: endpoint(CHEAP) };
    await lab.withoutPayment(other, async () => {
      const refused = await other.refuse('submit_experiment', named);
      expect(refused.code).toBe('connect_failed');
      expect((await other.refuse('probe_worker', { worker: endpoint(CHEAP) })).code).toBe('connect_failed');
      // The repeat of what was done needs no worker.
      expect((await other.submit(done)).experiment_id).toBe(before.experiment_id);
    });
    const auto = await other.run({ train_py: scoreScript('1.5', 'elsewhere') });
    expect(auto).toMatchObject({ state: 'published', val_bpb: 1.5 });
    expect(auto.worker_endpoint).not.toBe(endpoint(CHEAP));
    expect((await other.status()).reserved_atomic).toBe('0');
    expect((await lab.readTransfer(auto.payment_tx ?? '')).to).not.toBe(lab.worker(CHEAP).payTo);
  });
});
