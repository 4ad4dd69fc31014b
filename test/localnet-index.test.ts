import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Hex } from 'viem';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { reputationRegistryAbi } from '../src/base/abi.ts';
import { createLocalClient } from '../src/localnet/chain.ts';
import { type Localnet, startLocalnet } from '../src/localnet/localnet.ts';
import { getJson, objectSchema } from './localnet-client.ts';

const listSchema = z.object({ success: z.literal(true), data: z.array(z.looseObject({})), meta: z.looseObject({}) });

let network: Localnet;

beforeAll(async () => {
  network = await startLocalnet();
}, 20_000);

afterAll(async () => {
  await network?.stop();
});

describe('the index', () => {
  const fixture = (name: string) =>
    JSON.parse(readFileSync(new URL(`fixtures/8004scan/${name}`, import.meta.url), 'utf8'));

  it('lists the workers in rows of the documented shape and pages through them', async () => {
    const seed = `${network.indexUrl}/agents?protocol=OASF&search=devops_mlops/model_versioning&limit=20`;
    const answer = await getJson(seed);
    const list = listSchema.parse(answer.body);
    expect(list.data).toHaveLength(3);
    expect(Object.keys(list.data[0] ?? {}).sort()).toEqual(
      Object.keys(fixture('public-list-2026-09.json').data[0]).sort(),
    );
    expect(list.data.map((row) => row.token_id).sort()).toEqual(['0', '1', '2']);
    expect(list.meta.pagination).toEqual({ page: 1, limit: 20, total: 3, hasMore: false });
    expect(Number(answer.headers.get('x-ratelimit-remaining'))).toBeGreaterThan(0);

    const page = listSchema.parse((await getJson(`${network.indexUrl}/agents?limit=2&sortOrder=asc`)).body);
    expect(page.data.map((row) => row.token_id)).toEqual(['0', '1']);
    expect(page.meta.pagination).toMatchObject({ hasMore: true, total: 3 });
    expect(listSchema.parse((await getJson(`${network.indexUrl}/agents?search=bravo`)).body).data).toHaveLength(1);
    expect(listSchema.parse((await getJson(`${network.indexUrl}/agents?chainId=8453`)).body).data).toEqual([]);
    expect((await getJson(`${network.indexUrl}/agents?limit=101`)).status).toBe(422);
    expect((await getJson(`${network.indexUrl}/agents?chainId=abc`)).status).toBe(400);
  });

  it('shows the registration file in the detail', async () => {
    const { body } = await getJson(`${network.indexUrl}/agents/84532/0`);
    const data = objectSchema.parse(body.data);
    expect(Object.keys(data).sort()).toEqual(Object.keys(fixture('public-detail.json').data).sort());
    expect(data.raw_metadata).toMatchObject({
      offchain_uri: network.workers[0]?.registrationUri,
      offchain_content: { registrations: [{ agentId: 0 }] },
    });
    expect((await getJson(`${network.indexUrl}/agents/84532/999`)).status).toBe(404);
  });

  it('follows registrations and feedback of others', async () => {
    const server = createServer((_request, response) => response.end('{"name":"Somebody else"}')).listen(
      0,
      '127.0.0.1',
    );
    await once(server, 'listening');
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const { agentId } = await network.registerAgent(`http://127.0.0.1:${port}/file.json`, 4);
    const found = listSchema.parse((await getJson(`${network.indexUrl}/agents?search=somebody`)).body);
    expect(found.data).toMatchObject([{ token_id: agentId.toString(), x402_supported: false }]);
    server.close();

    const chain = createLocalClient(network.rpcUrl);
    const [reviewer] = (await chain.getAddresses()).slice(-1);
    const hash = await chain.writeContract({
      address: network.reputationRegistry,
      abi: reputationRegistryAbi,
      functionName: 'giveFeedback',
      args: [agentId, 95n, 0, 'starred', 'x402', 'http://w.example', '', `0x${'00'.repeat(32)}`],
      account: z.custom<Hex>((value) => typeof value === 'string').parse(reviewer),
    });
    await chain.waitForTransactionReceipt({ hash });
    const url = `${network.indexUrl}/feedbacks?chainId=84532&tokenId=${agentId}`;
    const feedback = listSchema.parse((await getJson(url)).body).data;
    expect(Object.keys(feedback[0] ?? {}).sort()).toEqual(Object.keys(fixture('feedbacks.json').data[0]).sort());
    expect(feedback).toMatchObject([{ value: '95', tag1: 'starred', agent: { name: 'Somebody else' } }]);
  });
});
