import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpClient } from '../net/http.ts';
import { HostGate } from './host-gate.ts';
import { IndexApi } from './index-api.ts';
import { IndexError } from './index-errors.ts';
import { isRecord } from './tolerant.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const NOW = Date.parse('2026-09-08T00:00:00Z');
const query = { search: null, chainId: null, limit: 20, page: 1 };
const budget = { signal: new AbortController().signal, retryUntilMs: 0 };

function createApi(scanApiUrl: string, scanApiKey?: string) {
  const clock = { nowMs: () => NOW };
  const http = new HttpClient({ allowHttpHosts: ['127.0.0.1'], userAgent: 'test/1' });
  cleanups.push(() => http.close());
  return new IndexApi({ http, gate: new HostGate(), clock, scanApiUrl, scanApiKey });
}

/** An index that gives one answer, and how often it was asked. */
async function startIndex(status: number, headers: Record<string, string>, body: unknown) {
  const index = { url: '', asked: 0 };
  const server = createServer((_request, response) => {
    index.asked += 1;
    response.writeHead(status, headers).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  cleanups.push(() => server.closeAllConnections());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  index.url = `http://127.0.0.1:${address.port}`;
  return index;
}

async function errorOf(request: Promise<unknown>): Promise<IndexError> {
  const error = await request.catch((reason: unknown) => reason);
  if (!(error instanceof IndexError)) throw new Error('no IndexError', { cause: error });
  return error;
}

describe('the limit that is assumed', () => {
  it.each([
    ['https://www.8004scan.io', undefined, 10],
    ['https://api.8004scan.io/api/v1', undefined, 10],
    ['https://8004scan.io', 'key', 30],
  ])('for %s with the key %s is %d a minute', (url, key, count) => {
    const { limiter } = createApi(url, key);
    expect(Array.from({ length: 40 }, () => limiter.tryAcquire()).filter(Boolean)).toHaveLength(count);
  });

  it('is none for an index of somebody else', () => {
    expect(createApi('https://index.example').limiter.isLimited).toBe(false);
  });
});

describe('a refusal of the index', () => {
  const errors: unknown = JSON.parse(
    readFileSync(new URL('../../test/fixtures/8004scan/errors.json', import.meta.url), 'utf8'),
  );
  const fixture = isRecord(errors) && isRecord(errors.rate_limited_429) ? errors.rate_limited_429 : {};

  it.each([
    ['Retry-After in seconds', { 'retry-after': '30' }, fixture.body, 30_000],
    ['Retry-After as a date', { 'retry-after': 'Tue, 08 Sep 2026 00:00:45 GMT' }, fixture.body, 45_000],
    ['its reset header', { 'x-ratelimit-reset': '1788825620' }, fixture.body, 20_000],
    ['its body alone', {}, fixture.body, 60_000],
    ['nothing at all', {}, {}, undefined],
    ['a body that is odd', {}, { error: { details: { resetAt: ['x'] } } }, undefined],
  ])('says by %s when to come again, and nothing is asked before', async (_how, headers, body, waitMs) => {
    const index = await startIndex(429, headers, body);
    const api = createApi(index.url);
    const error = await errorOf(api.fetchList(query, budget));
    expect([error.code, error.details.status, error.details.retryAfterMs]).toEqual(['rate_limited', 429, waitMs]);
    expect(api.limiter.waitMs()).toBe(waitMs ?? 60_000);
    expect((await errorOf(api.fetchList(query, budget))).code).toBe('rate_limited');
    expect(index.asked).toBe(1);
  });

  it('of another kind stops nobody, whatever its body says', async () => {
    const index = await startIndex(500, {}, fixture.body);
    const api = createApi(index.url);
    expect((await errorOf(api.fetchList(query, budget))).code).toBe('internal_error');
    expect(api.limiter.waitMs()).toBe(0);
  });
});
