import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Hex } from 'viem';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { usdcAbi } from '../src/base/abi.ts';
import { readConfig } from '../src/config.ts';
import { createLocalClient, MULTICALL3_ADDRESS } from '../src/localnet/chain.ts';
import type { LocalWorker } from '../src/localnet/local-worker.ts';
import { type Localnet, startLocalnet } from '../src/localnet/localnet.ts';
import { getJson, isAlive, readPayerKey, StockPayer } from './localnet-client.ts';

const TRAIN_STDLIB = readFileSync(new URL('../src/localnet/examples/train_stdlib.py', import.meta.url), 'utf8');

let network: Localnet;
let payer: StockPayer;
let chain: ReturnType<typeof createLocalClient>;

beforeAll(async () => {
  network = await startLocalnet({
    workers: [
      { slowdownMs: 0 },
      { slowdownMs: 1_500, priceAtomic: 80_000n },
      { slowdownMs: 0, priceAtomic: 30_000n, timeoutSeconds: 1, memoryLimitMb: 512 },
    ],
  });
  payer = new StockPayer(readPayerKey(network));
  chain = createLocalClient(network.rpcUrl);
}, 20_000);

afterAll(async () => {
  await network?.stop();
});

function worker(index: number): LocalWorker {
  const found = network.workers[index];
  if (!found) throw new Error(`no worker ${index}`);
  return found;
}

function balanceOf(account: Hex): Promise<bigint> {
  return chain.readContract({ address: network.usdc, abi: usdcAbi, functionName: 'balanceOf', args: [account] });
}

describe('a paid experiment', () => {
  it('runs train.py in a real Python, settles on the chain and updates what the worker says about itself', async () => {
    const [payerBefore, workerBefore] = await Promise.all([balanceOf(network.payer), balanceOf(worker(0).payTo)]);
    const experiment = { train_py: TRAIN_STDLIB, config: { CACHE_WEIGHT: 0.05 }, experiment_id: 'exp_cache' };
    const { status, body, receipt } = await payer.pay(worker(0).workerEndpoint, experiment);

    expect(status).toBe(200);
    expect(body).toMatchObject({
      status: 'completed',
      return_code: 0,
      experiment_id: 'exp_cache',
      artifact_path: null,
    });
    expect(body.config).toEqual({ CACHE_WEIGHT: 0.05 });
    expect(body.val_bpb).toBeGreaterThan(1.6);
    expect(body.val_bpb).toBeLessThan(1.7);
    expect(body.metrics).toMatchObject({ depth: 4, num_steps: 240_000 });
    expect(body.metrics).toHaveProperty('data_sha256', expect.stringMatching(/^[0-9a-f]{16}$/));

    expect(receipt?.success).toBe(true);
    expect(await balanceOf(network.payer)).toBe(payerBefore - 50_000n);
    expect(await balanceOf(worker(0).payTo)).toBe(workerBefore + 50_000n);

    expect((await getJson(`${worker(0).workerEndpoint}/experiments/exp_cache`)).body).toEqual(body);
    expect((await getJson(`${worker(0).workerEndpoint}/best`)).body).toEqual(body);
    const registration = await getJson(worker(0).registrationUri);
    expect(registration.body.metadata).toMatchObject({ best_val_bpb: Number(body.val_bpb).toFixed(6) });
  });

  it('is refused while the worker is busy, costs nothing then, and the same header pays once later', async () => {
    const slow = worker(1);
    const before = await balanceOf(slow.payTo);
    const quick = { train_py: 'print("---\\nval_bpb: 2.5")' };
    const [first, second] = await Promise.all([payer.sign(slow.workerEndpoint), payer.sign(slow.workerEndpoint)]);
    const running = payer.send(slow.workerEndpoint, first, { ...quick, experiment_id: 'holds' });
    await expect.poll(() => slow.isBusy()).toBe(true);

    const refused = await payer.send(slow.workerEndpoint, second, { ...quick, experiment_id: 'waits' });
    expect(refused).toMatchObject({ status: 409, receipt: null, body: { status: 'busy' } });
    const status = await getJson(`${slow.workerEndpoint}/status`);
    expect(status.body).toMatchObject({ status: 'busy', current: { experiment_id: 'holds' } });
    expect((await getJson(`${slow.workerEndpoint}/experiments/holds`)).status).toBe(404);

    expect((await running).body).toMatchObject({ status: 'completed', val_bpb: 2.5 });
    expect(await balanceOf(slow.payTo)).toBe(before + 80_000n);
    const retried = await payer.send(slow.workerEndpoint, second, { ...quick, experiment_id: 'waits' });
    expect(retried).toMatchObject({ status: 200, receipt: { success: true } });
    expect(await balanceOf(slow.payTo)).toBe(before + 160_000n);
    expect(slow.runCount()).toBe(2);
  });

  it('that crashes is answered with 200 and settled, without a score', async () => {
    const before = await balanceOf(worker(0).payTo);
    const { status, body, receipt } = await payer.pay(worker(0).workerEndpoint, {
      train_py: 'import sys\nprint("---\\nval_bpb: 0.000100")\nsys.exit(3)',
      experiment_id: 'crash',
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'failed', return_code: 3, val_bpb: null });
    expect(body.note).toBe('command exited with status 3');
    expect(receipt?.success).toBe(true);
    expect(await balanceOf(worker(0).payTo)).toBe(before + 50_000n);
  });

  it('under a used id is an internal error of the worker and costs nothing', async () => {
    const before = await balanceOf(worker(0).payTo);
    await payer.pay(worker(0).workerEndpoint, { train_py: 'pass', experiment_id: 'used' });
    const again = await payer.pay(worker(0).workerEndpoint, { train_py: 'pass', experiment_id: 'used' });
    expect(again).toMatchObject({ status: 500, receipt: null });
    expect(again.body.error).toMatch(/^internal worker error: /);
    expect(await balanceOf(worker(0).payTo)).toBe(before + 50_000n);
    expect((await getJson(`${worker(0).workerEndpoint}/health`)).body.busy).toBe(false);
  });

  it('over its time is ended with all its processes, although it printed something', async () => {
    const train = [
      'import subprocess, sys, time',
      'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])',
      'print("child", child.pid, flush=True)',
      'time.sleep(60)',
    ].join('\n');
    const { status, body } = await payer.pay(worker(2).workerEndpoint, { train_py: train, experiment_id: 'slow' });
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'timeout', return_code: -1, note: 'experiment exceeded timeout of 1s' });
    const child = /child (\d+)/.exec(readFileSync(String(body.log_path), 'utf8'))?.[1];
    await expect.poll(() => isAlive(Number(child))).toBe(false);
  });

  // macOS has no limit of address space.
  it.skipIf(process.platform === 'darwin')('cannot take more memory than its limit', async () => {
    const { body } = await payer.pay(worker(2).workerEndpoint, { train_py: 'x = bytearray(2_000_000_000)' });
    expect(body).toMatchObject({ status: 'failed', return_code: 1 });
    expect(readFileSync(String(body.log_path), 'utf8')).toContain('MemoryError');
  });

  it('that leaves a process of another group behind is answered all the same', async () => {
    const train_py = [
      'import subprocess, sys',
      'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(4)"], start_new_session=True)',
      'print("---\\nval_bpb: 2.25")',
    ].join('\n');
    const { body } = await payer.pay(worker(0).workerEndpoint, { train_py, experiment_id: 'leaves' });
    expect(body).toMatchObject({ status: 'completed', val_bpb: 2.25 });
    expect(body.durationSeconds).toBeLessThan(4);
  });

  it('sees next to nothing of the environment', async () => {
    const train_py = 'import os\nprint(",".join(sorted(os.environ)))';
    const { body } = await payer.pay(worker(0).workerEndpoint, { train_py });
    const names = readFileSync(String(body.log_path), 'utf8').split('\n')[0]?.split(',') ?? [];
    const expected =
      /^(PATH|HOME|TMPDIR|PWD|OLDPWD|SHLVL|_|LANG|LC_CTYPE|PYTHONUNBUFFERED|AUTORESEARCH_EXPERIMENT_\w+)$/;
    expect(names.filter((name) => !expected.test(name))).toEqual([]);
    expect(names).toContain('AUTORESEARCH_EXPERIMENT_CONFIG');
  });

  it('goes on when the client hangs up: it is paid and its result can be fetched', async () => {
    const before = await balanceOf(worker(0).payTo);
    const hangUp = new AbortController();
    const payment = await payer.sign(worker(0).workerEndpoint);
    const train_py = 'import time\ntime.sleep(0.3)\nprint("---\\nval_bpb: 2.0")';
    const experiment = { train_py, experiment_id: 'gone' };
    const lost = payer.send(worker(0).workerEndpoint, payment, experiment, hangUp.signal);
    const lostCheck = expect(lost).rejects.toThrow();
    await expect.poll(() => worker(0).isBusy()).toBe(true);
    hangUp.abort();
    await lostCheck;
    const url = `${worker(0).workerEndpoint}/experiments/gone`;
    await expect.poll(async () => (await getJson(url)).status, { timeout: 5_000 }).toBe(200);
    expect((await getJson(url)).body).toMatchObject({ status: 'completed', val_bpb: 2 });
    await expect.poll(() => balanceOf(worker(0).payTo)).toBe(before + 50_000n);
  });
});

describe('a worker without payment', () => {
  it('answers health, status and probes of the registration for free, and asks money for every spelling of POST', async () => {
    const { workerEndpoint, runCount } = worker(0);
    const runs = runCount();
    const health = await getJson(`${workerEndpoint}/health`);
    expect(Object.keys(health.body)).toEqual(['status', 'busy', 'repo', 'timeoutSeconds']);
    expect((await getJson(`${workerEndpoint}/experiments/..%2f`)).status).toBe(400);
    expect((await getJson(`${workerEndpoint}/nothing`)).body).toHaveProperty('error');
    const body = JSON.stringify({ train_py: 'pass' });
    for (const path of [
      '/experiment',
      '/experiment/',
      '//experiment',
      '/EXPERIMENT',
      '/experimen%74',
      '/experiment?x=1',
    ]) {
      const answer = await fetch(`${workerEndpoint}${path}`, { method: 'POST', body });
      expect([402, 404]).toContain(answer.status);
    }
    expect(runCount()).toBe(runs);
  });

  it('refuses a paid body that it cannot use, before the money moves', async () => {
    const before = await balanceOf(worker(0).payTo);
    for (const experiment of [
      {},
      [],
      { train_py: '' },
      { train_py: 'pass', config: [] },
      { train_py: 'pass', experiment_id: '../x' },
    ]) {
      expect(await payer.pay(worker(0).workerEndpoint, experiment)).toMatchObject({ status: 400, receipt: null });
    }
    expect(await balanceOf(worker(0).payTo)).toBe(before);
  });
});

describe('the chain', () => {
  it('makes blocks without transactions, with the time of the wall clock', async () => {
    const first = await chain.getBlock();
    await expect
      .poll(async () => (await chain.getBlock()).number, { timeout: 5_000 })
      .toBeGreaterThan(first.number + 1n);
    const head = await chain.getBlock();
    const nowSeconds = Date.now() / 1_000;
    expect(Number(head.timestamp)).toBeLessThanOrEqual(nowSeconds);
    expect(Number(head.timestamp)).toBeGreaterThan(nowSeconds - 10);
  });

  it('has the Multicall3 that the installed viem carries', async () => {
    const viem = dirname(createRequire(import.meta.url).resolve('viem/package.json'));
    const creation = readFileSync(join(viem, '_esm/constants/contracts.js'), 'utf8');
    const code = (await chain.getCode({ address: MULTICALL3_ADDRESS })) ?? '';
    expect(creation).toContain(code.slice(2));
    const contract = { address: network.usdc, abi: usdcAbi } as const;
    const [decimals] = await chain.multicall({ contracts: [{ ...contract, functionName: 'decimals' }] });
    expect(decimals.result).toBe(6);
  });
});

describe('the network', () => {
  it('hands over an environment that the program reads, with a key that nobody else can', () => {
    const config = readConfig(network.env);
    expect(config).toMatchObject({ scanApiUrl: network.indexUrl, defaultChain: { chainId: 84532 } });
    expect(statSync(network.env.AUTORESEARCH_PRIVATE_KEY_FILE ?? '').mode & 0o777).toBe(0o600);
    expect(config.allowHttpHosts).toContain(new URL(worker(2).workerEndpoint).host);
    expect(config.dataDir.startsWith(network.folder)).toBe(true);
  });

  it('does not collide with a second one, which says 429 where its index is told to', async () => {
    const second = await startLocalnet({ workers: 1, indexRequestsPerMinute: 1 });
    expect(second.payer).not.toBe(network.payer);
    const { status } = await new StockPayer(readPayerKey(second)).pay(second.workers[0]?.workerEndpoint ?? '', {
      train_py: 'pass',
    });
    expect(status).toBe(200);
    expect((await getJson(`${second.indexUrl}/stats`)).body.data).toMatchObject({ total_agents: 1 });
    const limited = await getJson(`${second.indexUrl}/stats`);
    expect(limited.status).toBe(429);
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
    await second.stop();
    expect(existsSync(second.folder)).toBe(false);
    await expect(fetch(second.rpcUrl)).rejects.toThrow();
    expect((await chain.getBlock()).number).toBeGreaterThan(0n);
  });

  it('says what to do when Python is missing, and leaves nothing behind', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'localnet-test-'));
    vi.stubEnv('TMPDIR', folder);
    await expect(startLocalnet({ python: 'no-such-python' })).rejects.toMatchObject({
      code: 'python_missing',
      nextStep: expect.stringContaining('Install Python'),
    });
    vi.unstubAllEnvs();
    expect(readdirSync(folder)).toEqual([]);
    rmdirSync(folder);
  });
});
