import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Hex } from 'viem';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { reputationRegistryAbi } from '../src/base/abi.ts';
import { silentLog } from '../src/base/log.ts';
import { readConfig } from '../src/config.ts';
import { openServices } from '../src/coordinator/services.ts';
import { discoverWorkers } from '../src/coordinator/workers.ts';
import { createLocalClient } from '../src/localnet/chain.ts';
import { type Localnet, startLocalnet } from '../src/localnet/localnet.ts';

const FLOOD = 20;
let network: Localnet;

beforeAll(async () => {
  network = await startLocalnet({ workers: FLOOD });
});

afterAll(async () => {
  await network?.stop();
});

async function openHouse(env: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), 'autoresearch-reputation-'));
  const services = await openServices(readConfig({ ...network.env, DATA_DIR: folder, ...env }), 'test', silentLog);
  onTestFinished(async () => {
    await services.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return services;
}

it('discover_workers shows what is known of the reputation of a full page, and stays concise', async () => {
  const client = createLocalClient(network.rpcUrl);
  const accounts = await client.getAddresses();
  const [friend, stranger] = [accounts.at(-1) ?? '0x', accounts.at(-2) ?? '0x'];
  const rate = async (account: Hex, agentId: bigint, value: bigint) => {
    const hash = await client.writeContract({
      address: network.reputationRegistry,
      abi: reputationRegistryAbi,
      functionName: 'giveFeedback',
      args: [agentId, value, 0, 'starred', '', '', '', `0x${'0'.repeat(64)}`],
      account,
    });
    await client.waitForTransactionReceipt({ hash });
  };
  const [unrated, ...rated] = network.workers;
  for (const { agentId } of rated) {
    await rate(friend, agentId, 70n);
    await rate(stranger, agentId, 100n);
  }
  const services = await openHouse({ AUTORESEARCH_TRUSTED_REVIEWERS: friend });
  const discover = (response_format: 'concise' | 'detailed') =>
    discoverWorkers(services, { limit: 20, response_format });
  const readAll = async () => {
    const { workers } = await discover('detailed');
    return workers.filter(({ reputation }) => reputation !== undefined).length;
  };
  await expect.poll(readAll, { timeout: 30_000 }).toBe(rated.length);
  const { workers } = await discover('detailed');
  for (const worker of workers) {
    const isRated = worker.worker_endpoint !== unrated?.workerEndpoint;
    const of = (score: number) => ({ score, count: 1, reviewers: 1, age_s: expect.any(Number) });
    expect(worker.reputation).toEqual(isRated ? { trusted: of(70), others: of(100) } : undefined);
  }
  const concise = await discover('concise');
  expect(concise.workers).toHaveLength(FLOOD);
  expect(JSON.stringify(concise, null, 2).length).toBeLessThanOrEqual(6_000);
});

it('a chain that hangs holds no answer up', async () => {
  const services = await openHouse({});
  const hanging = { ...services };
  services.reputations.refresh = () => new Promise(() => undefined);
  const { workers } = await discoverWorkers(hanging, { limit: 20 });
  expect(workers).toHaveLength(FLOOD);
  expect(workers.every(({ reputation }) => reputation === undefined)).toBe(true);
});
