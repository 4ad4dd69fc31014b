import { createServer, type Server } from 'node:http';
import { serve } from '@hono/node-server';
import { HTTPFacilitatorClient, x402ResourceServer } from '@x402/core/server';
import { registerExactEvmScheme } from '@x402/evm/exact/server';
import { paymentMiddleware as expressGate } from '@x402/express';
import { paymentMiddleware as honoGate } from '@x402/hono';
import express from 'express';
import { Hono } from 'hono';
import type { Hex } from 'viem';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { canonicalAddresses } from '../../src/localnet/contracts.ts';
import { buildResult, PRICE_ATOMIC } from '../peer/hostile-worker.ts';
import { PeerLab } from '../peer/peer-lab.ts';

const SPENT = { held: 0, spent: Number(PRICE_ATOMIC), released: 0 };
const Identified = z.looseObject({
  extensions: z.looseObject({ 'payment-identifier': z.looseObject({ info: z.looseObject({ id: z.string() }) }) }),
});

let lab: PeerLab;
const servers: { close(): unknown }[] = [];

beforeAll(async () => {
  lab = await PeerLab.open();
});

afterAll(async () => {
  for (const server of servers) server.close();
  await lab?.close();
});

function createResourceServer(): x402ResourceServer {
  const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: lab.facilitator.origin }));
  registerExactEvmScheme(server, { networks: ['eip155:84532'] });
  return server;
}

/** A route of the SDK's servers; the key of the extension makes it say that it recognises repeated payments. */
function createRoute(payTo: Hex) {
  return {
    accepts: {
      scheme: 'exact',
      network: 'eip155:84532',
      payTo,
      maxTimeoutSeconds: 900,
      price: {
        asset: canonicalAddresses.token,
        amount: PRICE_ATOMIC.toString(),
        extra: { name: 'USDC', version: '2' },
      },
    },
    description: 'Runs one train.py experiment',
    mimeType: 'application/json',
    extensions: {
      'payment-identifier': {
        info: { required: true },
        schema: { type: 'object', properties: { required: { type: 'boolean' }, id: { type: 'string' } } },
      },
    },
  } as const;
}

/** Pays a server and proves that it was paid once, and that the payment names the attempt. */
async function expectPaid(origin: string, payTo: Hex, headers: readonly string[]): Promise<void> {
  const house = await lab.house({ hosts: [new URL(origin).host] });
  const view = await house.run({ endpoint: origin });
  expect(view).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5 });
  expect(await house.ledger(view.experiment_id)).toEqual(SPENT);
  expect(await lab.balance(payTo)).toBe(PRICE_ATOMIC);
  expect(house.signed).toHaveLength(1);
  expect(headers).toHaveLength(1);
  const sent = Identified.parse(JSON.parse(Buffer.from(headers[0] ?? '', 'base64').toString('utf8')));
  expect(sent.extensions['payment-identifier'].info).toEqual({ required: true, id: `${view.experiment_id}-a1` });
}

function originOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return `http://127.0.0.1:${address.port}`;
}

describe('a worker behind', () => {
  it('@x402/express is paid once, under the identifier of the attempt', async () => {
    const payTo = privateKeyToAddress(generatePrivateKey());
    const seen: string[] = [];
    const app = express();
    app.post('/experiment', (request, _response, next) => {
      const payment = request.header('payment-signature');
      if (payment !== undefined) seen.push(payment);
      next();
    });
    app.use(expressGate({ 'POST /experiment': createRoute(payTo) }, createResourceServer()));
    app.use(express.text({ type: () => true }));
    app.post('/experiment', (request, response) => void response.json(buildResult(z.string().parse(request.body))));
    const server = createServer(app);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await expectPaid(originOf(server), payTo, seen);
  });

  it('@x402/hono is paid once, under the identifier of the attempt', async () => {
    const payTo = privateKeyToAddress(generatePrivateKey());
    const seen: string[] = [];
    const app = new Hono();
    app.use('/experiment', async (context, next) => {
      const payment = context.req.header('payment-signature');
      if (payment !== undefined) seen.push(payment);
      await next();
    });
    app.use(honoGate({ 'POST /experiment': createRoute(payTo) }, createResourceServer()));
    app.post('/experiment', async (context) => context.json(buildResult(await context.req.text())));
    const origin = await new Promise<string>((resolve) => {
      const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
        resolve(`http://127.0.0.1:${port}`),
      );
      servers.push(server);
    });
    await expectPaid(origin, payTo, seen);
  });
});
