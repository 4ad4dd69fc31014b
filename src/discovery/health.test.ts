import { createServer, type RequestListener } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../base/time.ts';
import { HttpClient } from '../net/http.ts';
import { HealthProber } from './health.ts';
import { HostGate } from './host-gate.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

const signal = new AbortController().signal;

async function startWorker(listener: RequestListener) {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const http = new HttpClient({ allowHttpHosts: ['127.0.0.1'], userAgent: 'test' });
  cleanups.push(() => http.close());
  const prober = new HealthProber({ http, gate: new HostGate(), clock: systemClock });
  return { prober, endpoint: `http://127.0.0.1:${address.port}/services/w` };
}

describe('HealthProber', () => {
  it.each([
    [200, '{"status":"ok","busy":false,"timeoutSeconds":300}', { status: 'ok', busy: false, timeoutSeconds: 300 }],
    [200, '{"status":"ok","busy":true}', { status: 'busy', busy: true }],
    [200, '{"status":"ok","busy":"yes","timeoutSeconds":-1}', { status: 'ok' }],
    [200, '{"anything":1}', { status: 'unknown' }],
    [200, '[]', { status: 'unknown' }],
    [200, '<html>', { status: 'unknown' }],
    [200, 'x'.repeat(20_000), { status: 'unknown' }],
    [402, '{}', { status: 'unknown' }],
    [404, '{}', { status: 'unknown' }],
    [308, '', { status: 'unknown' }],
    [502, '', { status: 'unreachable' }],
    [530, '', { status: 'unreachable' }],
  ])('reads status %d with %s', async (status, body, health) => {
    const { prober, endpoint } = await startWorker((_request, response) => {
      response.writeHead(status, { location: 'http://169.254.169.254/' }).end(body);
    });
    expect(await prober.probe(endpoint, signal)).toEqual(health);
  });

  it('asks below the endpoint, once for a burst of questions', async () => {
    const paths: (string | undefined)[] = [];
    const { prober, endpoint } = await startWorker((request, response) => {
      paths.push(request.url);
      response.end('{"status":"ok"}');
    });
    await Promise.all([prober.probe(endpoint, signal), prober.probe(endpoint, signal)]);
    await prober.probe(endpoint, signal);
    expect(paths).toEqual(['/services/w/health']);
    expect(prober.peek(endpoint)).toEqual({ status: 'ok' });
  });

  it('tells a dead worker from a call that is over', async () => {
    const { prober, endpoint } = await startWorker((request) => request.socket.destroy());
    expect(await prober.probe(endpoint, signal)).toEqual({ status: 'unreachable' });
    const hanging = await startWorker(() => undefined);
    expect(await hanging.prober.probe(hanging.endpoint, AbortSignal.abort())).toEqual({ status: 'unknown' });
    expect(hanging.prober.peek(hanging.endpoint)).toBeUndefined();
  });
});
