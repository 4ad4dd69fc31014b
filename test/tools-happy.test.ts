import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getAddress } from 'viem';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { Experiment, type Host, Lab, Quote, Status, scoreScript } from './harness.ts';

const TRAIN_STDLIB = readFileSync(new URL('../src/localnet/examples/train_stdlib.py', import.meta.url), 'utf8');

const Discovery = z.looseObject({
  workers: z.array(
    z.looseObject({
      worker_id: z.string(),
      worker_endpoint: z.string().optional(),
      identity: z.string(),
      health: z.string(),
      chain: z.string().optional(),
      agent_id: z.string().optional(),
      payto_match: z.string().optional(),
      price_usdc: z.string().optional(),
      untrusted_name: z.string().optional(),
      hidden_reason: z.string().optional(),
      own_record: z.looseObject({ runs: z.number(), scored: z.number(), lost: z.number() }).optional(),
    }),
  ),
  sources: z.array(z.looseObject({ source: z.string(), ok: z.boolean(), count: z.number(), ms: z.number() })),
  hidden: z.record(z.string(), z.number()),
  next_cursor: z.string().optional(),
  next_step: z.string().min(1),
});

const Board = z.looseObject({
  scope: z.string(),
  standings: z.array(
    z.looseObject({
      rank: z.number(),
      val_bpb: z.number().optional(),
      experiment_id: z.string().optional(),
      worker_endpoint: z.string().optional(),
      payment_tx: z.string().optional(),
      runs: z.number().optional(),
      scored: z.number().optional(),
      spent_usdc: z.string().optional(),
    }),
  ),
  total: z.number(),
  next_cursor: z.string().optional(),
  champion: z
    .looseObject({ experiment_id: z.string(), val_bpb: z.number(), sigma: z.number(), verified: z.boolean() })
    .optional(),
  sparkline: z.string(),
  chart_uri: z.string(),
  chart_path: z.string().optional(),
  results_path: z.string(),
  next_step: z.string().min(1),
});

const Text = z.tuple([z.looseObject({ uri: z.string(), mimeType: z.string(), text: z.string() })]);

let lab: Lab;
/** One data folder that most tests share: it fills up as that of a user does. */
let host: Host;
let workFolder: string;

beforeAll(async () => {
  lab = await Lab.open([
    { name: 'Cheap', priceAtomic: 30_000n, slowdownMs: 0 },
    { name: 'Middle', priceAtomic: 50_000n, slowdownMs: 0 },
    { name: 'Dear', priceAtomic: 80_000n, slowdownMs: 0 },
  ]);
  workFolder = lab.createFolder();
  host = await lab.connect({ cwd: workFolder });
});

afterAll(async () => {
  await lab?.close();
});

async function readResource(uri: string) {
  const { contents } = await host.client.readResource({ uri });
  const [content] = Text.parse(contents);
  expect(content.uri).toBe(uri);
  return content;
}

async function waitForChart(): Promise<string> {
  const read = async () => (await host.ok(Board, 'get_leaderboard', {})).chart_path ?? '';
  await expect.poll(read, { timeout: 10_000 }).not.toBe('');
  return read();
}

async function readThinkPrompt(loopId: string, focus?: string): Promise<string> {
  const { messages } = await host.client.getPrompt({
    name: 'think',
    arguments: { loop_id: loopId, ...(focus === undefined ? {} : { focus }) },
  });
  const message = z.object({
    role: z.literal('user'),
    content: z.object({ type: z.literal('text'), text: z.string() }),
  });
  const [{ content }] = z.tuple([message]).parse(messages);
  return content.text;
}

describe('discover_workers', () => {
  it('finds every worker of the index, verified, with its price and where it was found', async () => {
    const found = await host.ok(Discovery, 'discover_workers', { with_prices: true });
    const shown = found.workers.toSorted((a, b) => Number(a.agent_id) - Number(b.agent_id));
    expect(shown).toHaveLength(3);
    for (const [index, { workerEndpoint, agentId }] of lab.network.workers.entries()) {
      expect(shown[index]).toMatchObject({
        worker_endpoint: workerEndpoint,
        agent_id: agentId.toString(),
        identity: 'verified',
        chain: 'base-sepolia',
        health: 'ok',
        untrusted_name: ['Cheap', 'Middle', 'Dear'][index],
        price_usdc: ['0.03', '0.05', '0.08'][index],
        payto_match: expect.stringMatching(/^(wallet|owner)$/),
      });
    }
    expect(found.sources.some(({ ok, count }) => ok && count === 3)).toBe(true);
    expect(found.hidden).toEqual({});
    expect(found.next_cursor).toBeUndefined();
  });

  it('leaves out prices unless they are asked for', async () => {
    const { workers } = await host.ok(Discovery, 'discover_workers', {});
    expect(workers.map(({ price_usdc }) => price_usdc)).toEqual([undefined, undefined, undefined]);
  });

  it('hides workers over a price and counts them', async () => {
    const found = await host.ok(Discovery, 'discover_workers', { max_price_usdc: 0.05 });
    expect(found.workers.map(({ price_usdc }) => price_usdc).toSorted()).toEqual(['0.03', '0.05']);
    expect(found.hidden).toEqual({ over_max_price: 1 });
  });

  it('pages through all workers without showing one twice', async () => {
    const first = await host.ok(Discovery, 'discover_workers', { limit: 2 });
    expect(first.workers).toHaveLength(2);
    const second = await host.ok(Discovery, 'discover_workers', { limit: 2, cursor: first.next_cursor });
    expect(second.workers).toHaveLength(1);
    expect(second.next_cursor).toBeUndefined();
    expect(new Set([...first.workers, ...second.workers].map(({ worker_id }) => worker_id)).size).toBe(3);
  });

  it('finds none on a chain or with a skill that nobody has, and says how to go on', async () => {
    const elsewhere = await host.ok(Discovery, 'discover_workers', { chain: 'base' });
    expect(elsewhere.workers).toEqual([]);
    expect(elsewhere.next_step).not.toBe('');
  });

  it('counts what cannot be used under its reason and lists it on demand', async () => {
    const registration = {
      name: 'Unfinished',
      description: 'devops_mlops/model_versioning',
      services: [
        { name: 'web', endpoint: 'https://{your-host}/services/autoresearch-worker' },
        { name: 'OASF', skills: ['devops_mlops/model_versioning'] },
      ],
      active: true,
    };
    await lab.network.registerAgent(`data:application/json,${encodeURIComponent(JSON.stringify(registration))}`, 0);
    const other = await lab.connect();
    const hidden = await other.ok(Discovery, 'discover_workers', { refresh: true });
    expect(hidden.workers).toHaveLength(3);
    expect(hidden.hidden).toEqual({ template_endpoint: 1 });
    const all = await other.ok(Discovery, 'discover_workers', { include_unreachable: true });
    expect(all.workers).toHaveLength(4);
    expect(all.workers.filter(({ hidden_reason }) => hidden_reason === 'template_endpoint')).toHaveLength(1);
  });
});

describe('probe_worker', () => {
  it('answers a price as a quote, by endpoint and by id alike, without paying', async () => {
    const { workers } = await host.ok(Discovery, 'discover_workers', {});
    const worker = lab.worker(1);
    const id = workers.find(({ worker_endpoint }) => worker_endpoint === worker.workerEndpoint)?.worker_id ?? '';
    const quotes = await lab.withoutPayment(host, async () => [
      await host.ok(Quote, 'probe_worker', { worker: worker.workerEndpoint }),
      await host.ok(Quote, 'probe_worker', { worker: `${worker.workerEndpoint}/experiment/` }),
      await host.ok(Quote, 'probe_worker', { worker: id }),
    ]);
    for (const quote of quotes) {
      expect(quote).toMatchObject({
        worker_endpoint: worker.workerEndpoint,
        worker_id: id,
        price_usdc: '0.05',
        price_atomic: '50000',
        network: 'base-sepolia',
        flow: 'authorization',
        within_budget: true,
      });
      expect(getAddress(quote.asset)).toBe(getAddress(lab.network.usdc));
      expect(getAddress(quote.pay_to)).toBe(getAddress(worker.payTo));
      expect(quote.max_timeout_s).toBeGreaterThan(0);
      expect(Date.parse(quote.expires_at)).toBeGreaterThan(Date.now());
      expect(quote.next_step).toContain(quote.quote_id);
    }
    expect(new Set(quotes.map(({ quote_id }) => quote_id)).size).toBe(3);
    expect(worker.runCount()).toBe(0);
  });

  it('says that a price over a cap is not within the budget', async () => {
    const thrifty = await lab.connect({ env: { AUTORESEARCH_MAX_PRICE: '0.04' } });
    const quote = await thrifty.ok(Quote, 'probe_worker', { worker: lab.worker(1).workerEndpoint });
    expect(quote).toMatchObject({ within_budget: false, price_usdc: '0.05' });
  });
});

describe('submit_experiment and get_experiment', () => {
  it('runs a whole script on the cheapest worker and pays exactly its price to its payee', async () => {
    const balance = await lab.balance();
    const source = scoreScript('1.234567', 'a whole script');
    const done = await host.run({ train_py: source, hypothesis: 'it prints a number', agent: 'tester' });
    const worker = lab.worker(0);
    expect(done).toMatchObject({
      state: 'published',
      settlement: 'settled',
      worker_endpoint: worker.workerEndpoint,
      price_atomic: '30000',
      price_usdc: '0.03',
      val_bpb: 1.234567,
      verdict: 'BASELINE',
      attempt: 1,
      hypothesis: 'it prints a number',
      agent: 'tester',
      train_hash: `sha256:${createHash('sha256').update(source).digest('hex')}`,
    });
    expect(done.worker_choice).toContain('0.03');
    const transfer = await lab.readTransfer(done.payment_tx ?? '');
    expect(getAddress(transfer.from)).toBe(getAddress(lab.network.payer));
    expect(getAddress(transfer.to)).toBe(getAddress(worker.payTo));
    expect(transfer.value).toBe(30_000n);
    expect(await lab.balance()).toBe(balance - 30_000n);
    const status = await host.status();
    expect(status).toMatchObject({ spent_atomic: '30000', reserved_atomic: '0', in_flight: [] });
    expect(status.balance_atomic).toBe((await lab.balance()).toString());
  });

  it('waits for the end within the call when it is told to', async () => {
    const done = await host.ok(Experiment, 'submit_experiment', {
      train_py: scoreScript('1.3', 'waits'),
      wait_seconds: 40,
    });
    expect(done).toMatchObject({ state: 'published', val_bpb: 1.3 });
  });

  it('runs a file below the working directory of the server', async () => {
    writeFileSync(join(workFolder, 'train.py'), scoreScript('1.4', 'from a file'));
    expect(await host.run({ train_path: 'train.py' })).toMatchObject({ state: 'published', val_bpb: 1.4 });
  });

  it('applies edits to a base and describes the difference', async () => {
    const script = 'DEPTH = 8\nWIDTH = 64\nprint("---")\nprint(f"val_bpb: {2 - DEPTH / 100:.6f}")\n';
    const base = await host.run({ train_py: script });
    expect(base).toMatchObject({ val_bpb: 1.92, verdict: 'BASELINE' });
    const edited = await host.run({
      base: base.experiment_id,
      edits: [{ search: 'DEPTH = 8', replace: 'DEPTH = 9' }],
    });
    expect(edited).toMatchObject({ val_bpb: 1.91, verdict: 'KEEP', description: 'DEPTH 8 → 9' });
    const champion = await host.run({ base: 'champion', edits: [{ search: 'DEPTH = 9', replace: 'DEPTH = 7' }] });
    expect(champion).toMatchObject({ val_bpb: 1.93, verdict: 'DISCARD', description: 'DEPTH 9 → 7' });
    const byHash = await host.run({ base: base.train_hash, edits: [{ search: 'WIDTH = 64', replace: 'WIDTH = 32' }] });
    expect(byHash).toMatchObject({ val_bpb: 1.92, description: 'WIDTH 64 → 32' });
  });

  it('hands the config to a script that reads it', async () => {
    const config = { MAX_ORDER: 2, CACHE_WEIGHT: 0.05 };
    const done = await host.run({ train_py: TRAIN_STDLIB, config });
    expect(done.state).toBe('published');
    expect(done.metrics).toMatchObject({ depth: 2, num_steps: 240_000 });
    expect(done.description).toContain('MAX_ORDER := 2');
    // Another config is another variant of the same source: its resource tells them apart.
    const plain = await host.run({ train_py: TRAIN_STDLIB });
    expect(plain.train_hash).toBe(done.train_hash);
    const read = async (id: string): Promise<unknown> =>
      JSON.parse((await readResource(`autoresearch://experiments/${id}`)).text);
    expect(await read(done.experiment_id)).toMatchObject({ experiment_id: done.experiment_id, config });
    expect(await read(plain.experiment_id)).not.toHaveProperty('config');
  });

  it('uses the worker that the caller names', async () => {
    const { workerEndpoint, payTo } = lab.worker(2);
    const done = await host.run({ train_py: scoreScript('1.5', 'named'), worker: workerEndpoint });
    expect(done).toMatchObject({ worker_endpoint: workerEndpoint, price_usdc: '0.08' });
    expect(getAddress((await lab.readTransfer(done.payment_tx ?? '')).to)).toBe(getAddress(payTo));
  });

  it('pays what was quoted to whom it was quoted', async () => {
    const { workerEndpoint } = lab.worker(1);
    const quote = await host.ok(Quote, 'probe_worker', { worker: workerEndpoint });
    const done = await host.run({ train_py: scoreScript('1.6', 'quoted'), quote_id: quote.quote_id });
    expect(done).toMatchObject({
      state: 'published',
      worker_endpoint: workerEndpoint,
      price_atomic: quote.price_atomic,
    });
  });

  it('takes a quote as consent to one experiment only', async () => {
    const quote = await host.ok(Quote, 'probe_worker', { worker: lab.worker(1).workerEndpoint });
    const call = { train_py: scoreScript('1.61', 'quoted once'), quote_id: quote.quote_id };
    const done = await host.run(call);
    expect((await host.run(call)).experiment_id).toBe(done.experiment_id);
    const { text, code } = await host.refuse('submit_experiment', {
      ...call,
      train_py: scoreScript('1.62', 'quoted twice'),
    });
    expect(code).toBe('quote_used');
    expect(text).toContain(done.experiment_id);
  });

  it('recognises the same call although the champion that it names has changed by its own run', async () => {
    const own = await lab.connect();
    await own.run({ train_py: 'SHIFT = 0.0\nprint(f"val_bpb: {1.7 - SHIFT:.6f}")\n' });
    const call = { base: 'champion', edits: [{ search: 'SHIFT = ', replace: 'SHIFT = 0.01 + ' }] };
    const better = await own.run(call);
    expect(better).toMatchObject({ verdict: 'KEEP', val_bpb: 1.69 });
    expect((await own.run(call)).experiment_id).toBe(better.experiment_id);
  });

  it('writes a record of every run and its source byte for byte', async () => {
    const other = await lab.connect();
    const odd = '# Größe ≥ 1 🧪\r\nprint("---")\r\nprint("val_bpb: 1.75")\r\n';
    const first = await other.run({ train_py: odd, config: { a: 1 } });
    const second = await other.run({ train_py: scoreScript('1.8', 'no line end').trimEnd() });
    const records = await other.readRecords(2);
    expect(records.map(({ experiment_id }) => experiment_id)).toEqual([first.experiment_id, second.experiment_id]);
    expect(records[0]).toMatchObject({
      train_hash: `sha256:${createHash('sha256').update(odd, 'utf8').digest('hex')}`,
      val_bpb: 1.75,
      worker_endpoint: lab.worker(0).workerEndpoint,
      worker_agent_id: '0',
      payment_tx: first.payment_tx,
      chain: 'base-sepolia',
      config: { a: 1 },
    });
    expect(Date.parse(String(records[0]?.timestamp))).not.toBeNaN();
    const raw = z.looseObject({ status: z.string(), val_bpb: z.number() }).parse(records[0]?.raw_result);
    expect(raw).toMatchObject({ status: 'completed', val_bpb: 1.75 });
    const hex = createHash('sha256').update(odd, 'utf8').digest('hex');
    expect(readFileSync(other.file('sources', `${hex}.py`)).equals(Buffer.from(odd, 'utf8'))).toBe(true);
    await expect.poll(() => existsSync(other.file('charts', 'all.svg')), { timeout: 10_000 }).toBe(true);
  });
});

describe('get_leaderboard', () => {
  it('ranks variants by score, with champion, sparkline, chart and records', async () => {
    const board = await host.ok(Board, 'get_leaderboard', { limit: 3 });
    const scores = board.standings.map(({ val_bpb }) => val_bpb ?? 0);
    expect(scores).toHaveLength(3);
    expect(scores).toEqual(scores.toSorted((a, b) => a - b));
    expect(board.standings.map(({ rank }) => rank)).toEqual([1, 2, 3]);
    expect(board.champion).toMatchObject({ verified: false });
    expect(board.champion?.sigma).toBeGreaterThan(0);
    expect(board.sparkline).not.toBe('');
    expect(existsSync(board.results_path)).toBe(true);
    expect(readFileSync(await waitForChart(), 'utf8')).toMatch(/^<svg[\s\S]*<\/svg>\s*$/);
    const rest = await host.ok(Board, 'get_leaderboard', { limit: 100, cursor: board.next_cursor });
    expect(rest.standings).toHaveLength(board.total - 3);
    expect(rest.standings[0]?.rank).toBe(4);
  });

  it('ranks workers by what they gave us', async () => {
    const board = await host.ok(Board, 'get_leaderboard', { scope: 'workers' });
    expect(board.standings.map(({ worker_endpoint }) => worker_endpoint).toSorted()).toEqual(
      lab.network.workers.map(({ workerEndpoint }) => workerEndpoint).toSorted(),
    );
    const dear = board.standings.find(({ worker_endpoint }) => worker_endpoint === lab.worker(2).workerEndpoint);
    expect(dear).toMatchObject({ runs: 1, scored: 1, spent_usdc: '0.08' });
    const { workers } = await host.ok(Discovery, 'discover_workers', {});
    const found = workers.find(({ worker_endpoint }) => worker_endpoint === lab.worker(2).workerEndpoint);
    expect(found?.own_record).toEqual({ runs: 1, scored: 1, lost: 0 });
  });

  it('ranks agents by what became of their proposals', async () => {
    const { standings, total } = await host.ok(Board, 'get_leaderboard', { scope: 'agents' });
    expect(total).toBe(standings.length);
    expect(standings.find(({ agent }) => agent === 'tester')).toMatchObject({ runs: 1, scored: 1 });
  });

  it('finds past experiments by their words, and says where there are none', async () => {
    const all = await host.ok(Board, 'get_leaderboard', { scope: 'experiments', limit: 2 });
    expect(all.standings.map(({ rank }) => rank)).toEqual([1, 2]);
    const found = await host.ok(Board, 'get_leaderboard', { search: 'TESTER prints', response_format: 'detailed' });
    expect(found).toMatchObject({ scope: 'experiments', total: 1 });
    expect(found.standings).toMatchObject([{ agent: 'tester', hypothesis: 'it prints a number' }]);
    expect(await host.ok(Board, 'get_leaderboard', { search: ' ' })).toMatchObject({ scope: 'variants' });
    const nine = 'tester it prints a number it prints a zebra';
    expect(await host.ok(Board, 'get_leaderboard', { search: nine })).toMatchObject({ total: 0 });
    const none = await host.ok(Board, 'get_leaderboard', { search: 'tester "%_ no such words' });
    expect(none).toMatchObject({ total: 0, standings: [], next_step: expect.stringContaining('No experiment holds') });
  });
});

describe('run_loop', () => {
  it('runs the script, asks for proposals, runs them and finishes', async () => {
    const script =
      'DEPTH = 8\nRATE = 3\n# data\nprint("---")\nprint(f"val_bpb: {2 - DEPTH / 100 + RATE / 1000:.6f}")\n';
    let loop = await host.loop({
      action: 'start',
      train_py: script,
      rounds: 3,
      parallel: 2,
      agent: 'tester',
      audit_share: 0,
    });
    loop = await host.settle(loop.loop_id);
    expect(loop).toMatchObject({ state: 'needs_proposals', rounds_done: 0, baseline_val_bpb: 1.923 });
    expect(loop.think?.length).toBeLessThanOrEqual(24_000);
    expect(loop.think).toContain(loop.loop_id);
    expect(await readThinkPrompt(loop.loop_id)).toBe(loop.think);
    expect((await readResource(`autoresearch://think/${loop.loop_id}`)).text).toBe(loop.think);
    expect(await readThinkPrompt(loop.loop_id, 'only the rate')).toContain('only the rate');

    const refusing = await host.loop({
      action: 'continue',
      loop_id: loop.loop_id,
      proposals: [
        { edits: [{ search: 'DEPTH = 8', replace: 'DEPTH = 9' }], hypothesis: 'deeper' },
        { edits: [{ search: 'DEPHT = 8', replace: 'DEPTH = 9' }] },
        { edits: [{ search: 'DEPTH = 8', replace: 'DEPTH = 9' }] },
        { train_py: script },
        { edits: [{ search: 'RATE = 3', replace: 'RATE = 4' }] },
      ],
    });
    expect(refusing.refused).toMatchObject([
      { proposal: 2, code: 'edit_no_match' },
      { proposal: 3, code: 'duplicate_variant' },
      { proposal: 4, code: 'duplicate_variant' },
    ]);
    loop = await host.settle(loop.loop_id);
    expect(loop).toMatchObject({ state: 'needs_proposals', rounds_done: 2, extra_runs: 1 });
    expect(loop.best).toMatchObject({ val_bpb: 1.913, verified: true });
    expect(loop.think).toContain('DEPTH 8 → 9');

    const again = await host.loop({
      action: 'continue',
      loop_id: loop.loop_id,
      proposals: [{ base: 'baseline', edits: [{ search: 'DEPTH = 8', replace: 'DEPTH = 9' }] }],
    });
    expect(again.refused).toMatchObject([{ proposal: 1, code: 'duplicate_variant' }]);
    expect(again.state).toBe('needs_proposals');

    await host.loop({
      action: 'continue',
      loop_id: loop.loop_id,
      proposals: [{ edits: [{ search: 'DEPTH = 9', replace: 'DEPTH = 10' }] }],
    });
    loop = await host.settle(loop.loop_id);
    expect(loop).toMatchObject({ state: 'finished', rounds_done: 3, extra_runs: 2 });
    expect(loop.best).toMatchObject({ val_bpb: 1.903, verified: true });
    // Two gains were confirmed on workers of other owners.
    const ofRounds = loop.results.filter(({ round }) => round !== undefined);
    expect(ofRounds.map(({ val_bpb }) => val_bpb)).toEqual([1.913, 1.924, 1.903]);
    expect(loop.results).toHaveLength(6);
    for (const { val_bpb, worker_endpoint } of ofRounds.filter((run) => run.verdict === 'KEEP')) {
      const again = loop.results.filter((run) => run.val_bpb === val_bpb);
      expect(again).toHaveLength(2);
      expect(again.map((run) => run.worker_endpoint)).not.toEqual([worker_endpoint, worker_endpoint]);
    }
    expect(loop.think).toBeUndefined();

    const paid = await Promise.all(loop.results.map(({ experiment_id }) => host.finish(experiment_id)));
    const sumAtomic = paid.reduce((sum, { price_atomic }) => sum + BigInt(price_atomic ?? 0), 0n);
    expect(Number((await host.loop({ action: 'status', loop_id: loop.loop_id })).spent_usdc) * 1e6).toBeCloseTo(
      Number(sumAtomic),
    );
    for (const { payment_tx, price_atomic } of paid) {
      expect((await lab.readTransfer(payment_tx ?? '')).value).toBe(BigInt(price_atomic ?? 0));
    }
    const chart = await readResource(`autoresearch://chart/${loop.loop_id}.svg`);
    expect(chart.text).toContain('<svg');
    await expect.poll(() => existsSync(host.file('charts', `${loop.loop_id}.svg`)), { timeout: 10_000 }).toBe(true);
  });

  it('stops on demand, keeps what it has, and takes nothing more', async () => {
    const script = 'STEPS = 5\nprint("---")\nprint(f"val_bpb: {2 + STEPS / 100:.6f}")\n';
    const started = await host.loop({ action: 'start', train_py: script, rounds: 5 });
    await host.settle(started.loop_id);
    const stopped = await host.loop({ action: 'stop', loop_id: started.loop_id });
    expect(stopped).toMatchObject({ state: 'stopped', baseline_val_bpb: 2.05 });
    const { code } = await host.refuse('run_loop', {
      action: 'continue',
      loop_id: started.loop_id,
      proposals: [{ edits: [{ search: 'STEPS = 5', replace: 'STEPS = 4' }] }],
    });
    expect(code).toBe('loop_over');
    expect((await host.loop({ action: 'stop', loop_id: started.loop_id })).state).toBe('stopped');
  });

  it('prefers the worker that it is told to and ends at its own budget', async () => {
    const { workerEndpoint } = lab.worker(1);
    const script = 'SIZE = 1\nprint("---")\nprint(f"val_bpb: {3 - SIZE / 100:.6f}")\n';
    const started = await host.loop({
      action: 'start',
      train_py: script,
      rounds: 5,
      prefer: workerEndpoint,
      budget_usdc: 0.07,
      audit_share: 0,
    });
    let loop = await host.settle(started.loop_id);
    expect(loop.results[0]).toMatchObject({ worker_endpoint: workerEndpoint, val_bpb: 2.99 });
    const edit = (to: number) => ({ edits: [{ search: 'SIZE = 1', replace: `SIZE = ${to}` }], base: 'baseline' });
    await host.loop({ action: 'continue', loop_id: loop.loop_id, proposals: [edit(2)] });
    loop = await host.settle(loop.loop_id);
    expect(loop).toMatchObject({ state: 'budget_exhausted', spent_usdc: '0.05', remaining_usdc: '0.02' });
    expect(loop.reason).toContain('budget');
  });

  it('keeps THINK within its limit whatever the champion looks like', async () => {
    const knobs = Array.from({ length: 70 }, (_, index) => `KNOB_${index} = "${'x'.repeat(150)}"`).join('\n');
    const script = `${knobs}\nDEPTH = 1\nprint("---")\nprint(f"val_bpb: {3 - DEPTH / 100:.6f}")\n`;
    const started = await host.loop({ action: 'start', train_py: script, rounds: 2 });
    await host.settle(started.loop_id);
    await host.loop({
      action: 'continue',
      loop_id: started.loop_id,
      proposals: [{ edits: [{ search: 'DEPTH = 1', replace: 'DEPTH = 5' }], config: { padding: 'y'.repeat(15_000) } }],
    });
    const loop = await host.settle(started.loop_id);
    expect(loop).toMatchObject({ state: 'needs_proposals', best: { val_bpb: 2.95 } });
    expect(loop.think?.length).toBeLessThanOrEqual(24_000);
    expect(loop.think).toContain('"action": "continue"');
    const focused = await readThinkPrompt(loop.loop_id, 'z'.repeat(30_000));
    expect(focused.length).toBeLessThanOrEqual(24_000);
  });
});

describe('get_status', () => {
  it('shows payer, balance, caps, spending, loops and the runner', async () => {
    const status = await host.status();
    expect(status).toMatchObject({
      payer: lab.network.payer,
      chain: 'base-sepolia',
      balance_atomic: (await lab.balance()).toString(),
      reserved_atomic: '0',
      caps: { max_price_atomic: '250000', budget_24h_atomic: '5000000' },
      data_dir: host.dataDir,
      health: { rpc: 'ok', signer: expect.stringMatching(/^ok/), store: 'ok' },
    });
    expect(BigInt(status.spent_atomic)).toBeGreaterThan(0n);
    expect(status.loops.length).toBeGreaterThan(2);
    expect(status.recent.length).toBeGreaterThan(2);
  });
});

describe('prompts and resources', () => {
  it('lists one prompt, which without a loop tells how to start one', async () => {
    const { prompts } = await host.client.listPrompts();
    expect(prompts.map(({ name }) => name)).toEqual(['think']);
    const fresh = await lab.connect();
    const { messages } = await fresh.client.getPrompt({ name: 'think', arguments: { train_path: 'train.py' } });
    expect(JSON.stringify(messages)).toContain('train_path');
  });

  it('reads every resource that it lists, and one of each template', async () => {
    const { resources } = await host.client.listResources();
    const { resourceTemplates } = await host.client.listResourceTemplates();
    expect(resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toEqual(
      expect.arrayContaining([
        'autoresearch://experiments/{id}',
        'autoresearch://sources/{sha256}',
        'autoresearch://think/{loop_id}',
        'autoresearch://chart/{loop_id}.svg',
      ]),
    );
    for (const { uri, mimeType } of resources) expect((await readResource(uri)).mimeType).toBe(mimeType);
    const board = Board.parse(JSON.parse((await readResource('autoresearch://leaderboard')).text));
    const best = board.standings[0];
    const budget = Status.parse(JSON.parse((await readResource('autoresearch://budget')).text));
    expect(budget.payer).toBe(lab.network.payer);
    const { text } = await readResource(`autoresearch://experiments/${best?.experiment_id}`);
    const experiment = Experiment.parse(JSON.parse(text));
    expect(experiment.val_bpb).toBe(best?.val_bpb);
    const source = await readResource(`autoresearch://sources/${experiment.train_hash}`);
    expect(`sha256:${createHash('sha256').update(source.text, 'utf8').digest('hex')}`).toBe(experiment.train_hash);
    expect((await readResource('autoresearch://chart/all.svg')).text).toContain('<svg');
  });
});
