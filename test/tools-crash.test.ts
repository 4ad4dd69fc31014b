import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Host, Lab, listProcesses, type RawServer, scoreScript } from './harness.ts';
import { isAlive } from './localnet-client.ts';

/** Hosts send SIGKILL after this time, in milliseconds. */
const HOST_PATIENCE_MS = 2_000;

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.open([
    { priceAtomic: 30_000n, slowdownMs: 2_000 },
    { priceAtomic: 50_000n, slowdownMs: 0 },
  ]);
});

afterAll(async () => {
  await lab?.close();
});

interface Running {
  readonly experimentId: string;
  readonly before: { readonly transfers: number; readonly nonces: number; readonly runs: number };
}

async function countPayments() {
  const [transfers, nonces] = await Promise.all([lab.transfers(), lab.usedNonces()]);
  return { transfers: transfers.length, nonces: nonces.length, runs: lab.worker(0).runCount() };
}

/** Submits an experiment to the slow worker and waits until it trains. */
async function startRun(host: Host, comment: string): Promise<Running> {
  await expect.poll(() => lab.worker(0).isBusy(), { timeout: 10_000 }).toBe(false);
  const before = await countPayments();
  const { experiment_id } = await host.submit({
    train_py: scoreScript('1.5', comment),
    worker: lab.worker(0).workerEndpoint,
  });
  await expect.poll(() => lab.worker(0).isBusy(), { timeout: 15_000, interval: 20 }).toBe(true);
  return { experimentId: experiment_id, before };
}

/** Follows the run to its end: it has its result, and was paid once. */
async function expectPaidOnce(host: Host, { experimentId, before }: Running): Promise<void> {
  const done = await host.finish(experimentId);
  expect(done).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5, attempt: 1 });
  const transfer = await lab.readTransfer(done.payment_tx ?? '');
  expect(transfer.value).toBe(30_000n);
  expect(await countPayments()).toEqual({
    transfers: before.transfers + 1,
    nonces: before.nonces + 1,
    runs: before.runs + 1,
  });
  expect(await host.status()).toMatchObject({ spent_atomic: '30000', reserved_atomic: '0', in_flight: [] });
  const records = await host.readRecords(1);
  expect(records.map(({ experiment_id }) => experiment_id)).toEqual([experimentId]);
}

async function killRunner(host: Host): Promise<number> {
  await expect.poll(async () => (await host.status()).runner_pid ?? 0, { timeout: 15_000 }).toBeGreaterThan(0);
  const { runner_pid: pid = 0 } = await host.status();
  process.kill(pid, 'SIGKILL');
  await expect.poll(() => isAlive(pid), { timeout: 5_000 }).toBe(false);
  return pid;
}

describe('kill -9 while a worker trains', () => {
  it('of the server: a new one finds the experiment, its result arrives, and it is paid once', async () => {
    const host = await lab.connect();
    const running = await startRun(host, 'server killed');
    await host.kill();
    const next = await lab.connect({ dataDir: host.dataDir });
    expect((await next.status()).recent.map(({ experiment_id }) => experiment_id)).toEqual([running.experimentId]);
    await expectPaidOnce(next, running);
  });

  it('of the runner: another one takes over, and it is paid once', async () => {
    const host = await lab.connect();
    const running = await startRun(host, 'runner killed');
    const killed = await killRunner(host);
    await expectPaidOnce(host, running);
    expect((await host.status()).runner_pid).not.toBe(killed);
  });

  it('of both: a new server alone, without any call, brings it to its end, and it is paid once', async () => {
    const host = await lab.connect();
    const running = await startRun(host, 'both killed');
    await killRunner(host);
    await host.kill();
    const next = await lab.connect({ dataDir: host.dataDir });
    const [record] = await next.readRecords(1, 40_000);
    expect(record).toMatchObject({ experiment_id: running.experimentId, val_bpb: 1.5, settlement: 'settled' });
    await expectPaidOnce(next, running);
  });

  it('of one runner after the other: it is paid once', async () => {
    let host = await lab.connect();
    const running = await startRun(host, 'many killed');
    for (let kills = 0; kills < 3; kills += 1) {
      await killRunner(host);
      await host.kill();
      host = await lab.connect({ dataDir: host.dataDir });
    }
    await expectPaidOnce(host, running);
  });

  it('of the runner before it has done anything: nothing is lost and nothing is paid twice', async () => {
    const host = await lab.connect();
    await expect.poll(() => lab.worker(0).isBusy(), { timeout: 10_000 }).toBe(false);
    const before = await countPayments();
    const { experiment_id } = await host.submit({
      train_py: scoreScript('1.5', 'killed early'),
      worker: lab.worker(0).workerEndpoint,
    });
    await killRunner(host);
    await host.kill();
    const next = await lab.connect({ dataDir: host.dataDir });
    await expectPaidOnce(next, { experimentId: experiment_id, before });
  });
});

describe('a loop', () => {
  it('goes on after kill -9 of server and runner, runs each proposal once and pays each once', async () => {
    const host = await lab.connect({ env: { AUTORESEARCH_BLOCKED_WORKERS: lab.worker(0).workerEndpoint } });
    const before = (await lab.transfers()).length;
    const script = 'import time\nSTEP = 0\ntime.sleep(0.5)\nprint(f"val_bpb: {2 - STEP / 100}")\n';
    const { loop_id } = await host.loop({ action: 'start', train_py: script, rounds: 3, audit_share: 0 });
    await host.settle(loop_id);
    const proposals = [1, 2, 3].map((step) => ({
      base: 'baseline',
      edits: [{ search: 'STEP = 0', replace: `STEP = ${step}` }],
    }));
    await host.loop({ action: 'continue', loop_id, proposals });
    await expect.poll(() => lab.worker(1).isBusy(), { timeout: 10_000, interval: 20 }).toBe(true);
    await killRunner(host);
    await host.kill();
    const next = await lab.connect({
      dataDir: host.dataDir,
      env: { AUTORESEARCH_BLOCKED_WORKERS: lab.worker(0).workerEndpoint },
    });
    const loop = await next.settle(loop_id);
    expect(loop).toMatchObject({
      state: 'finished',
      rounds_done: 3,
      extra_runs: 0,
      best: { val_bpb: 1.97, verified: false },
    });
    // With one worker left nobody can confirm a gain: that is refused, and costs nothing.
    for (const { experiment_id } of loop.results.filter(({ state }) => state !== 'refused')) {
      expect(await next.finish(experiment_id)).toMatchObject({ settlement: 'settled' });
    }
    expect((await lab.transfers()).length).toBe(before + 4);
    expect((await next.status()).spent_atomic).toBe('200000');
  });
});

describe('a client that leaves while a worker trains', () => {
  /** A server with a client that has submitted something and waits for it. */
  async function startWaiting(comment: string): Promise<{ server: RawServer; dataDir: string; running: Running }> {
    const dataDir = lab.createFolder();
    const server = lab.spawnServer({ dataDir, env: { LOG_LEVEL: 'info' } });
    await server.initialize();
    await expect.poll(() => lab.worker(0).isBusy(), { timeout: 10_000 }).toBe(false);
    const before = await countPayments();
    const args = { train_py: scoreScript('1.5', comment), worker: lab.worker(0).workerEndpoint, wait_seconds: 40 };
    server.write(
      JSON.stringify({
        jsonrpc: '2.0',
        id: 900,
        method: 'tools/call',
        params: { name: 'submit_experiment', arguments: args },
      }),
    );
    await expect.poll(() => lab.worker(0).isBusy(), { timeout: 15_000, interval: 20 }).toBe(true);
    return { server, dataDir, running: { experimentId: '', before } };
  }

  const ways: readonly (readonly [string, (server: RawServer) => void])[] = [
    ['SIGINT', ({ child }) => void child.kill('SIGINT')],
    ['SIGTERM', ({ child }) => void child.kill('SIGTERM')],
    ['the end of stdin', ({ child }) => void child.stdin.end()],
    [
      'a closed stdout',
      (server) => {
        server.child.stdout.destroy();
        server.write(JSON.stringify({ jsonrpc: '2.0', id: 901, method: 'ping' }));
      },
    ],
  ];

  it.each(ways)(
    'by %s: the server exits with 0 in time and in silence, and the run is paid once',
    async (way, leave) => {
      const { server, dataDir, running } = await startWaiting(`left by ${way}`);
      const sinceMs = performance.now();
      leave(server);
      expect(await server.exited).toEqual([0, null]);
      expect(performance.now() - sinceMs).toBeLessThan(HOST_PATIENCE_MS);
      expect(server.stderr).not.toMatch(/^\s+at |Error:|EPIPE/m);
      const next = await lab.connect({ dataDir });
      const [recent] = (await next.status()).recent;
      await expectPaidOnce(next, { ...running, experimentId: recent?.experiment_id ?? '' });
    },
  );

  it('before it said anything at all: the server exits with 0', async () => {
    const server = lab.spawnServer();
    server.child.stdin.end();
    expect(await server.exited).toEqual([0, null]);
    expect(server.stderr).toBe('');
    const other = lab.spawnServer();
    await other.initialize();
    other.child.kill('SIGINT');
    expect(await other.exited).toEqual([0, null]);
  });
});

describe('two servers on one data folder', () => {
  it('share one runner, agree on what they see, and pay each experiment once', async () => {
    const dataDir = lab.createFolder();
    const env = { LOG_LEVEL: 'info' };
    const [one, two] = await Promise.all([lab.connect({ dataDir, env }), lab.connect({ dataDir, env })]);
    const before = (await lab.transfers()).length;
    const submit = (host: Host, comment: string) =>
      host.submit({ train_py: scoreScript('1.5', comment), worker: lab.worker(1).workerEndpoint });
    const same = await Promise.all([
      submit(one, 'same'),
      submit(two, 'same'),
      submit(one, 'same'),
      submit(two, 'same'),
    ]);
    expect(new Set(same.map(({ experiment_id }) => experiment_id)).size).toBe(1);
    const own = await Promise.all([submit(one, 'first'), submit(two, 'second')]);
    const ids = [...new Set([...same, ...own].map(({ experiment_id }) => experiment_id))];
    expect(ids).toHaveLength(3);
    await expect.poll(() => countRunners(dataDir), { timeout: 10_000 }).toBeLessThanOrEqual(1);
    for (const id of ids) {
      expect(await one.finish(id)).toMatchObject({ state: 'published', settlement: 'settled', attempt: 1 });
      expect((await two.finish(id)).state).toBe('published');
    }
    expect((await lab.transfers()).length).toBe(before + 3);
    expect((await two.status()).spent_atomic).toBe('150000');
    const records = await one.readRecords(3);
    expect(records.map(({ experiment_id }) => experiment_id).toSorted()).toEqual(ids.toSorted());
    const started = readFileSync(one.file('runner.log'), 'utf8').match(/"runner started"/g);
    expect(started).toHaveLength(1);
  });

  it('keep one budget of the day together', async () => {
    const dataDir = lab.createFolder();
    const env = { AUTORESEARCH_BUDGET: '0.11' };
    const hosts = await Promise.all([lab.connect({ dataDir, env }), lab.connect({ dataDir, env })]);
    const before = (await lab.transfers()).length;
    const submitted = await Promise.all(
      [0, 1, 2, 3].map((number) =>
        hosts[number % 2]?.call('submit_experiment', {
          train_py: scoreScript('1.5', `one of four: ${number}`),
          worker: lab.worker(1).workerEndpoint,
          wait_seconds: 40,
        }),
      ),
    );
    expect(submitted).toHaveLength(4);
    expect((await lab.transfers()).length).toBe(before + 2);
    expect(await hosts[0]?.status()).toMatchObject({ spent_atomic: '100000', reserved_atomic: '0' });
  });
});

describe('a runner', () => {
  it('ends by itself when there is nothing to do', async () => {
    const host = await lab.connect({ env: { AUTORESEARCH_RUNNER_IDLE: '0' } });
    await host.run({ train_py: scoreScript('1.5', 'idle'), worker: lab.worker(1).workerEndpoint });
    await expect.poll(async () => (await host.status()).runner_pid, { timeout: 15_000 }).toBeUndefined();
    // It gives its place back before it is gone.
    await expect.poll(() => countRunners(host.dataDir), { timeout: 10_000 }).toBe(0);
  });

  it('that is told to end gives its work back, which the next one takes up without paying again', async () => {
    const host = await lab.connect();
    const running = await startRun(host, 'runner told to end');
    const { runner_pid: pid = 0 } = await host.status();
    process.kill(pid, 'SIGTERM');
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
    await expectPaidOnce(host, running);
  });
});

/** Runners of a data folder, where the system shows processes; their servers have the same variable, so these are left out. */
function countRunners(dataDir: string): number {
  return listProcesses(dataDir).filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('runner')).length;
}
