import { createServer, type RequestListener } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../base/time.ts';
import { type HttpAnswer, HttpClient, type HttpRequest } from '../net/http.ts';
import { HostGate } from './host-gate.ts';
import { DomainChecker } from './identity.ts';
import { RegistrationReader } from './registration-source.ts';
import { fetchWebJson, isNoDowngrade, isSameHost } from './web-json.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A client that keeps what it was asked for. */
class NotingClient extends HttpClient {
  readonly asked: HttpRequest[] = [];
  override request(options: HttpRequest): Promise<HttpAnswer> {
    this.asked.push(options);
    return super.request(options);
  }
}

const signal = new AbortController().signal;
const gate = new HostGate();
let http: NotingClient;
beforeEach(() => {
  http = new NotingClient({ allowHttpHosts: ['127.0.0.1'], userAgent: 'test/1' });
  cleanups.push(() => http.close());
});

async function serve(listener: RequestListener): Promise<URL> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => server.close());
  cleanups.push(() => server.closeAllConnections());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return new URL(`http://127.0.0.1:${address.port}/card`);
}

const read = (url: URL, mayRedirect = isNoDowngrade) =>
  fetchWebJson(http, gate, { url, timeoutMs: 10_000, signal, mayRedirect });

describe('the type of a document', () => {
  it.each([
    'application/json',
    'application/json; charset=utf-8',
    'Application/LD+JSON',
    'text/plain',
    'text/json',
    'application/octet-stream',
    'binary/octet-stream',
    '',
  ])('may be %j', async (type) => {
    const url = await serve((_, response) => {
      if (type !== '') response.setHeader('content-type', type);
      response.end('{"a":1}');
    });
    expect(await read(url)).toEqual({ ok: true, value: { a: 1 }, servedBy: url });
  });

  it.each([
    'text/html',
    'TEXT/HTML; charset=utf-8',
    'application/xhtml+xml',
    'image/svg+xml',
    'image/png',
    'application/xml',
    'application/pdf',
    'multipart/form-data',
    'application/javascript',
  ])('may not be %j, whatever stands in it', async (type) => {
    const url = await serve((_, response) => response.setHeader('content-type', type).end('{"a":1}'));
    expect(await read(url)).toEqual({ ok: false, reason: 'bad_body' });
  });
});

describe('the size of a document', () => {
  it.each([
    [524_288, true],
    [524_289, false],
  ])('of %d bytes is read: %s', async (size, isRead) => {
    const url = await serve((_, response) => response.end(`{"a":"${'x'.repeat(size - 8)}"}`));
    expect(await read(url)).toMatchObject(isRead ? { ok: true } : { ok: false, reason: 'too_large' });
  });
});

describe('an answer', () => {
  it.each([
    [204, ''],
    [206, '{"a":1}'],
    [301, '{"a":1}'],
    [401, '{"a":1}'],
    [404, '{"a":1}'],
    [500, '{"a":1}'],
  ])('with status %d is no document', async (status, body) => {
    const url = await serve((_, response) => response.writeHead(status).end(body));
    expect(await read(url)).toEqual({ ok: false, reason: 'unreachable' });
  });

  it.each([
    ['half of it', '{"a":', 'bad_body'],
    ['a byte order mark', '\ufeff{"a":1}', null],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'bad_encoding'],
    ['UTF-16', Buffer.from('{"a":1}', 'utf16le'), 'bad_body'],
    ['nothing', '', 'bad_body'],
  ])('that holds %s is read or refused by its bytes', async (_what, body, reason) => {
    const url = await serve((_, response) => response.end(body));
    expect(await read(url)).toMatchObject(reason === null ? { ok: true } : { ok: false, reason });
  });
});

describe('a redirect', () => {
  it('is followed to another host for a file, within the host for `.well-known`, three times at most', async () => {
    const other = await serve((_, response) => response.end('{"a":1}'));
    const url = await serve((request, response) => {
      const step = Number(/\d+$/.exec(request.url ?? '')?.[0] ?? 0);
      response.writeHead(302, { location: step > 1 ? `/card${step - 1}` : other.href }).end();
    });
    const from = (steps: number) => new URL(`/card${steps}`, url);
    expect(await read(from(1))).toMatchObject({ ok: true, servedBy: other });
    expect(await read(from(3))).toMatchObject({ ok: true, servedBy: other });
    expect(await read(from(4))).toEqual({ ok: false, reason: 'redirect_blocked' });
    expect(await read(from(1), isSameHost)).toEqual({ ok: false, reason: 'redirect_blocked' });
  });

  it.each([
    ['https://a.example/', 'https://b.example/', true, false],
    ['https://a.example/', 'https://a.example/x', true, true],
    ['https://a.example/', 'https://a.example:8443/', true, false],
    ['https://a.example/', 'https://x.a.example/', true, false],
    ['https://a.example/', 'http://a.example/', false, false],
    ['http://a.example/', 'http://b.example/', true, false],
    ['http://a.example/', 'https://a.example/', true, true],
  ])('from %s to %s: %s for a file, %s for `.well-known`', (from, to, file, own) => {
    const urls = [new URL(from), new URL(to)] as const;
    expect([isNoDowngrade(...urls), isSameHost(...urls)]).toEqual([file, own]);
  });
});

it('has ten seconds, half a megabyte and no headers of ours, for files, gateways and `.well-known` alike', async () => {
  const url = await serve((_, response) => response.end('{}'));
  const reader = new RegistrationReader({ http, gate, clock: systemClock, ipfsGateways: [url.origin] });
  await reader.read(url.href, 60_000, signal);
  await reader.read('ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi', 60_000, signal);
  const agent = { chainId: 1, registry: `0x${'a'.repeat(40)}`, agentId: '1' };
  await new DomainChecker({ http, gate, clock: systemClock }).check(url.href, agent, signal);
  expect(http.asked).toHaveLength(3);
  for (const { deadlineMs, maxBytes, headers, method, body } of http.asked)
    expect({ deadlineMs, maxBytes, headers, method, body }).toEqual({ deadlineMs: 10_000, maxBytes: 524_288 });
});
