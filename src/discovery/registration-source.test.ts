import { createServer } from 'node:http';
import { afterEach, expect, it } from 'vitest';
import { systemClock } from '../base/time.ts';
import { HttpClient } from '../net/http.ts';
import { HostGate } from './host-gate.ts';
import { RegistrationReader } from './registration-source.ts';

const CID = 'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi';
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function serve(status: number, body: unknown) {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    paths.push(request.url ?? '');
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => new Promise((resolve) => server.close(resolve)));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { url: `http://127.0.0.1:${address.port}`, paths };
}

function createReader(gateway: string, takeIndexIpfsUrl: (path: string) => URL | null) {
  const http = new HttpClient({ allowHttpHosts: ['127.0.0.1'], userAgent: 'test' });
  cleanups.push(() => http.close());
  const deps = { http, gate: new HostGate(), clock: systemClock, ipfsGateways: [gateway], takeIndexIpfsUrl };
  return new RegistrationReader(deps);
}

const { signal } = new AbortController();

it.each([
  ['as it is', { name: 'Worker' }],
  ['in an envelope', { success: true, data: { name: 'Worker' } }],
])('asks the index for an ipfs:// document when all gateways have failed, and takes it %s', async (_how, body) => {
  const [gateway, index] = [await serve(504, {}), await serve(200, body)];
  const reader = createReader(gateway.url, (path) => new URL(`/ipfs/fetch?cid=${path}`, index.url));
  const answer = await reader.read(`ipfs://${CID}`, 5_000, signal);
  expect(answer).toMatchObject({ ok: true, servedBy: null, registration: { nameUntrusted: 'Worker' } });
  expect(gateway.paths).toEqual([`/ipfs/${CID}`]);
  expect(index.paths).toEqual([`/ipfs/fetch?cid=${CID}`]);
});

it('leaves the index alone while a gateway answers, and goes without it when it has no room', async () => {
  const gateway = await serve(200, { name: 'Worker' });
  let taken = 0;
  const count = () => {
    taken += 1;
    return null;
  };
  await expect(createReader(gateway.url, count).read(`ipfs://${CID}`, 5_000, signal)).resolves.toMatchObject({
    ok: true,
  });
  expect(taken).toBe(0);
  const broken = await serve(504, {});
  const answer = await createReader(broken.url, count).read(`ipfs://${CID}`, 5_000, signal);
  expect(answer).toEqual({ ok: false, reason: 'unreachable' });
  expect(taken).toBe(1);
});
