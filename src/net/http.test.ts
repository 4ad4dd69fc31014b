import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import * as z from 'zod';
import { NetworkError } from './errors.ts';
import { HttpClient, type HttpRequest } from './http.ts';

type Found = { address: string; family: number }[];
const names = vi.hoisted(() => ({ answers: new Map<string, () => Found>() }));

vi.mock('node:dns', async (original) => {
  const dns = await original<typeof import('node:dns')>();
  return {
    ...dns,
    lookup: (host: string, _options: object, callback: (error: Error | null, found: Found) => void) => {
      const answer = names.answers.get(host);
      if (answer) setImmediate(callback, null, answer());
      else setImmediate(callback, Object.assign(new Error('not found'), { code: 'ENOTFOUND' }), []);
    },
  };
});

const Address = z.object({ port: z.number() });
const open = new Set<Server | TcpServer>();
const sockets = new Set<Socket>();
let http: HttpClient;

beforeEach(() => {
  http = new HttpClient({ allowHttpHosts: ['127.0.0.1'], userAgent: 'test/1' });
});

afterEach(async () => {
  names.answers.clear();
  await http.close();
  for (const socket of sockets) socket.destroy();
  await Promise.all([...open].map((server) => new Promise((resolve) => server.close(resolve))));
  open.clear();
  sockets.clear();
});

async function listen(server: Server | TcpServer): Promise<string> {
  open.add(server);
  server.on('connection', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${Address.parse(server.address()).port}`;
}

const serve = (listener: RequestListener) => listen(createServer(listener));
const serveTcp = (handler: (socket: Socket) => void) => listen(createTcpServer(handler));

/** Sends a request with bounds that no honest answer here reaches. */
function ask(url: string, options: Partial<HttpRequest> = {}) {
  return http.request({ url, maxBytes: 10_000, deadlineMs: 20_000, ...options });
}

async function failureOf(request: Promise<unknown>): Promise<NetworkError> {
  const outcome = await request.then(
    () => null,
    (error: unknown) => error,
  );
  if (!(outcome instanceof NetworkError)) throw new Error('no NetworkError was thrown', { cause: outcome });
  return outcome;
}

describe('redirects', () => {
  it('are handed back, and neither body nor payment is posted anywhere else', async () => {
    const leaked: string[] = [];
    const thief = await serve((request, response) => {
      leaked.push(request.url ?? '');
      response.end('{}');
    });
    for (const status of [301, 302, 303, 307, 308]) {
      const url = await serve((_, response) => {
        response.writeHead(status, { location: `${thief}/stolen` }).end('moved');
      });
      const answer = await ask(url, { method: 'POST', body: 'secret', headers: { 'PAYMENT-SIGNATURE': 'header' } });
      expect(answer.status).toBe(status);
      expect(answer.body.toString()).toBe('moved');
    }
    expect(leaked).toEqual([]);
  });

  it('are followed as far as the rule allows, three at most', async () => {
    const seen: string[] = [];
    const url = await serve((request, response) => {
      seen.push(request.url ?? '');
      const step = Number(request.url?.slice(1));
      response.writeHead(step >= 9 ? 200 : 302, { location: `/${step + 1}` }).end();
    });
    expect((await ask(`${url}/7`, { mayRedirect: () => true })).url.pathname).toBe('/9');
    const tooMany = await failureOf(ask(`${url}/1`, { mayRedirect: () => true }));
    expect(tooMany).toMatchObject({ problem: 'redirect_blocked', isSent: true });
    expect(seen).toEqual(['/7', '/8', '/9', '/1', '/2', '/3', '/4']);
    const refused = await failureOf(ask(`${url}/1`, { mayRedirect: () => false }));
    expect(refused.problem).toBe('redirect_blocked');
  });

  it('never lead to an address that may not be asked', async () => {
    for (const location of [
      'https://169.254.169.254/',
      'http://example.com/',
      'file:///etc/passwd',
      'https://[::1]/',
    ]) {
      const url = await serve((_, response) => response.writeHead(302, { location }).end());
      const failure = await failureOf(ask(url, { mayRedirect: () => true }));
      expect(['blocked_address', 'blocked_url']).toContain(failure.problem);
    }
  });

  it('without a readable target are answers', async () => {
    const url = await serve((_, response) => response.writeHead(302, { location: 'http://' }).end('where?'));
    expect((await ask(url, { mayRedirect: () => true })).status).toBe(302);
  });
});

describe('sizes', () => {
  it('of a body count up to the cap, announced or not', async () => {
    const url = await serve((request, response) => {
      const size = Number(request.url?.slice(1));
      if (request.headers['x-chunked']) response.write('');
      else response.setHeader('content-length', size);
      response.end('x'.repeat(size));
    });
    for (const headers of [{}, { 'x-chunked': '1' }]) {
      expect((await ask(`${url}/10000`, { headers })).body).toHaveLength(10_000);
      expect(await failureOf(ask(`${url}/10001`, { headers }))).toMatchObject({ problem: 'too_large', isSent: true });
    }
  });

  it('of an endless body are cut off', async () => {
    const url = await serve((_, response) => {
      const write = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      };
      response.on('drain', write);
      write();
    });
    expect((await failureOf(ask(url))).problem).toBe('too_large');
  });

  it('of headers may reach 60 kB and not 70 kB', async () => {
    const url = await serve((request, response) => {
      response.setHeader('x-large', 'x'.repeat(Number(request.url?.slice(1)))).end('{}');
    });
    expect((await ask(`${url}/60000`)).headers['x-large']).toHaveLength(60_000);
    expect(await failureOf(ask(`${url}/70000`))).toMatchObject({ problem: 'too_large', isSent: true });
  });

  it.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ] as const)('of a bomb in %s are those of what it holds', async (encoding, compress) => {
    const url = await serve((request, response) => {
      const text = request.url === '/bomb' ? 'x'.repeat(50_000_000) : '{"a":1}';
      response.setHeader('content-encoding', encoding).end(compress(text));
    });
    expect((await ask(url)).body.toString()).toBe('{"a":1}');
    expect((await failureOf(ask(`${url}/bomb`, { maxBytes: 1_000_000 }))).problem).toBe('too_large');
  });

  it.each(['gzip', 'br', 'zstd', 'gzip, gzip'])('cannot be told of what is not really %s', async (encoding) => {
    const url = await serve((_, response) => response.setHeader('content-encoding', encoding).end('plain'));
    expect(await failureOf(ask(url))).toMatchObject({ problem: 'bad_encoding', isSent: true });
  });
});

describe('what is sent', () => {
  it('has a length, our name, and no wish for compression', async () => {
    const seen: unknown[] = [];
    const url = await serve((request, response) => {
      const { 'content-length': length, 'transfer-encoding': transfer, 'user-agent': agent } = request.headers;
      seen.push([length, transfer, agent, request.headers['accept-encoding'], request.headers.accept]);
      response.end();
    });
    await ask(url, { method: 'POST', body: new TextEncoder().encode('häh') });
    expect(seen).toEqual([['4', undefined, 'test/1', 'identity', 'application/json']]);
  });

  it('goes out once, also when the connection breaks', async () => {
    let requests = 0;
    const url = await serve((request) => {
      requests += 1;
      request.socket.destroy();
    });
    await failureOf(ask(url, { method: 'POST', body: 'x' }));
    await failureOf(ask(url));
    expect(requests).toBe(2);
  });
});

describe('isSent', () => {
  it('is false when the connection is refused', async () => {
    const url = await serveTcp(() => {});
    for (const server of open) await new Promise((resolve) => server.close(resolve));
    open.clear();
    expect(await failureOf(ask(url, { method: 'POST', body: 'x' }))).toMatchObject({
      problem: 'connect_failed',
      isSent: false,
    });
  });

  it('is false when the name is unknown, blocked or leads to a private address', async () => {
    names.answers.set('inside.example', () => [{ address: '10.0.0.1', family: 4 }]);
    expect(await failureOf(ask('https://nowhere.example/'))).toMatchObject({
      problem: 'connect_failed',
      isSent: false,
    });
    expect(await failureOf(ask('https://inside.example/'))).toMatchObject({
      problem: 'blocked_address',
      isSent: false,
    });
    expect(await failureOf(ask('https://localhost/'))).toMatchObject({ problem: 'blocked_address', isSent: false });
    expect(await failureOf(ask('http://example.com/'))).toMatchObject({ problem: 'blocked_url', isSent: false });
    expect(await failureOf(ask('nonsense'))).toMatchObject({ problem: 'blocked_url', isSent: false });
  });

  it('is false when TLS is not spoken on the other side', async () => {
    const url = await serveTcp((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    const failure = await failureOf(ask(url.replace('http:', 'https:'), { method: 'POST', body: 'x' }));
    expect(failure).toMatchObject({ problem: 'connect_failed', isSent: false });
  });

  it('is false when the caller left or the time was up before a connection stood', async () => {
    const url = await serve((_, response) => response.end());
    const left = await failureOf(ask(url, { signal: AbortSignal.abort() }));
    expect(left).toMatchObject({ problem: 'cancelled', isSent: false });
    const silent = await serveTcp(() => {});
    const late = await failureOf(ask(silent.replace('http:', 'https:'), { deadlineMs: 200 }));
    expect(late).toMatchObject({ problem: 'timeout', isSent: false });
  });

  it('is true when the connection breaks before, within and after the headers', async () => {
    const reset = (text: string) =>
      serveTcp((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => {
          if (text === '') socket.resetAndDestroy();
          else socket.write(text, () => socket.resetAndDestroy());
        });
      });
    for (const text of ['', 'HTTP/1.1 200 OK\r\ncontent-le', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf']) {
      const url = await reset(text);
      expect(await failureOf(ask(url, { method: 'POST', body: 'x' }))).toMatchObject({
        problem: 'connection_lost',
        isSent: true,
      });
    }
  });

  it('is true when the answer is no HTTP, or ends too early', async () => {
    for (const text of ['SSH-2.0-OpenSSH\r\n', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort']) {
      const url = await serveTcp((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => socket.end(text));
      });
      expect(await failureOf(ask(url))).toMatchObject({ problem: 'connection_lost', isSent: true });
    }
  });

  it('is true when the answer does not come in time, whichever part of it drips', async () => {
    const drips: ((socket: Socket) => void)[] = [
      () => {},
      (socket) => void setInterval(() => socket.write('x'), 20).unref(),
      (socket) => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n');
        setInterval(() => socket.write('x'), 20).unref();
      },
    ];
    for (const drip of drips) {
      const url = await serveTcp((socket) => {
        socket.on('error', () => {});
        socket.write('HTTP/1.1 100 Continue\r\n\r\n');
        drip(socket);
      });
      const failure = await failureOf(ask(url, { method: 'POST', body: 'x', deadlineMs: 300 }));
      expect(failure.isSent).toBe(true);
      expect(['timeout', 'connection_lost']).toContain(failure.problem);
    }
  });

  it('is true when the caller leaves while the worker is at it', async () => {
    const leaving = new AbortController();
    const url = await serve(() => leaving.abort());
    expect(await failureOf(ask(url, { signal: leaving.signal }))).toMatchObject({ problem: 'cancelled', isSent: true });
  });
});

describe('names of strangers', () => {
  it('are refused when any of their addresses is private', async () => {
    const mixed = [
      { address: '93.184.216.34', family: 4 },
      { address: '::ffff:127.0.0.1', family: 6 },
    ];
    names.answers.set('mixed.example', () => mixed);
    names.answers.set('empty.example', () => []);
    expect((await failureOf(ask('https://mixed.example/'))).problem).toBe('blocked_address');
    expect((await failureOf(ask('https://empty.example/'))).problem).toBe('blocked_address');
  });

  it('are judged by the address that is connected to, not by one of before', async () => {
    let asked = 0;
    names.answers.set('rebinding.example', () => {
      asked += 1;
      return [{ address: asked === 1 ? '192.0.2.1' : '127.0.0.1', family: 4 }];
    });
    for (let time = 0; time < 3; time += 1) {
      expect((await failureOf(ask('https://rebinding.example/'))).problem).toBe('blocked_address');
    }
    expect(asked).toBe(3);
  });
});

it('shows neither path nor credentials of an address in its errors', async () => {
  const failure = await failureOf(ask('https://user:pw@example.com/secret?token=1'));
  expect(failure.message).toContain('example.com');
  expect(`${failure.message}${failure.stack}`).not.toMatch(/pw|secret|token/);
});

it('takes a repeated header by its first value', async () => {
  const url = await serve((_, response) => {
    response.setHeader('payment-response', ['first', 'second']).end();
  });
  expect((await ask(url)).headers['payment-response']).toMatch(/^first/);
});
