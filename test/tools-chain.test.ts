import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { Lab, Quote, scoreScript } from './harness.ts';

const Discovery = z.looseObject({
  workers: z.array(z.looseObject({ worker_endpoint: z.string(), identity: z.string() })),
  sources: z.array(
    z.looseObject({ source: z.string(), ok: z.boolean(), error: z.string().optional(), blocks: z.string().optional() }),
  ),
  hidden: z.record(z.string(), z.number()),
});

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.open([{}, {}]);
});
afterAll(() => lab.close());

describe('an index that is down', () => {
  it('costs neither workers nor experiments while the chain answers', async () => {
    const host = await lab.connect({ env: { SCAN_API_URL: 'http://127.0.0.1:1/api' } });
    const ask = () =>
      host.ok(Discovery, 'discover_workers', { response_format: 'detailed', with_prices: true, refresh: true });
    let found = await ask();
    // On a loaded machine a call may be over before the chain has answered; what it read by then is kept.
    for (let again = 0; again < 10 && found.workers.length < 2; again += 1) found = await ask();
    expect(found.workers).toHaveLength(2);
    for (const { workerEndpoint } of lab.network.workers) {
      expect(found.workers).toContainEqual(
        expect.objectContaining({
          worker_endpoint: workerEndpoint,
          identity: 'verified',
          source: 'chain',
          payto_match: expect.stringMatching(/^(wallet|owner)$/),
        }),
      );
    }
    expect(found.sources).toContainEqual(
      expect.objectContaining({ source: '8004scan', ok: false, error: 'unreachable' }),
    );
    expect(found.sources).toContainEqual(
      expect.objectContaining({ source: 'chain', ok: true, blocks: expect.stringMatching(/^0-\d+$/) }),
    );
    const [agent] = lab.network.workers;
    const id = `${lab.network.chainId}:${lab.network.identityRegistry.toLowerCase()}:${agent?.agentId}`;
    const quote = await host.ok(Quote, 'probe_worker', { worker: id });
    expect(quote).toMatchObject({ worker_endpoint: agent?.workerEndpoint, within_budget: true });
    const run = await host.run({ train_py: scoreScript('1.25'), worker: 'auto' });
    expect(run).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.25 });
  });

  it('is told apart from a world without workers when the chain is away, too', async () => {
    const env = { SCAN_API_URL: 'http://127.0.0.1:1/api', ERPC_URL: 'http://127.0.0.1:1/?network={network}' };
    const host = await lab.connect({ env });
    const found = await host.ok(Discovery, 'discover_workers', {});
    expect(found.workers).toEqual([]);
    expect(found.sources.map(({ source, ok, error }) => [source, ok, error])).toEqual([
      ['8004scan', false, 'unreachable'],
      ['8004scan', false, 'unreachable'],
      ['chain', false, 'no_rpc'],
    ]);
  });
});
