// An index of as many workers as a test wants, all of them doors to one real worker of the local network.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

// Not the chain of the local network: its registry would rightly say that it knows none of these.
const CHAIN_ID = 8453;
const REGISTRY = '0x8004a169fb4a3325136eb29fa0ceb6d2e539a432';
const SKILL = 'devops_mlops/model_versioning';

export interface Door {
  /** Path of the worker's address at the market's own host; absent: the real worker itself. */
  readonly path?: string;
  readonly name?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly active?: boolean;
  /** It never answers the question for its price. */
  readonly isSilent?: boolean;
}

/** A host with an index and the doors that it lists. */
export class Market {
  /** Paths that were asked for a price. */
  readonly probed: string[] = [];
  doors: readonly Door[] = [];
  readonly #server = createServer((request, response) => void this.#answer(request, response));
  readonly #target: string;
  #url = '';

  private constructor(target: string) {
    this.#target = target;
  }

  /** @param target endpoint of the worker behind every door */
  static async open(target: string): Promise<Market> {
    const market = new Market(target);
    await new Promise<void>((resolve) => market.#server.listen(0, '127.0.0.1', resolve));
    const address = market.#server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    market.#url = `http://127.0.0.1:${address.port}`;
    return market;
  }

  /** What a server needs to know to work with this market. */
  env(allowedHosts: string): Record<string, string> {
    const { host } = new URL(this.#url);
    return { SCAN_API_URL: `${this.#url}/api/v1/public`, AUTORESEARCH_ALLOW_HTTP_HOSTS: `${allowedHosts},${host}` };
  }

  endpointOf(door: Door): string {
    return door.path === undefined ? this.#target : `${this.#url}${door.path}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.#url);
    const json = (body: unknown, status = 200) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (url.pathname === '/api/v1/public/agents') return void json(this.#listPage(url.searchParams));
    const door = this.doors.find(({ path }) => path !== undefined && url.pathname.startsWith(`${path}/`));
    if (!door) return void json({ error: 'unknown endpoint' }, 404);
    const route = url.pathname.slice((door.path ?? '').length);
    if (route === '/experiment') {
      this.probed.push(door.path ?? '');
      if (door.isSilent) return;
    }
    try {
      await forward(request, response, `${this.#target}${route}`);
    } catch {
      response.destroy();
    }
  }

  #listPage(query: URLSearchParams) {
    const [limit, page] = [Number(query.get('limit') ?? 20), Number(query.get('page') ?? 1)];
    const from = (page - 1) * limit;
    const data = this.doors.slice(from, from + limit).map((door, index) => this.#row(door, from + index + 1));
    const hasMore = from + limit < this.doors.length;
    return { success: true, data, meta: { pagination: { page, limit, total: this.doors.length, hasMore } } };
  }

  #row(door: Door, id: number) {
    const registration = {
      name: door.name ?? `Rig ${id} of the north hall`,
      description: 'Runs train.py experiments of autoresearch on one H100',
      services: [
        { name: 'web', endpoint: this.endpointOf(door) },
        { name: 'OASF', version: '0.8', skills: [SKILL] },
      ],
      x402Support: true,
      active: door.active ?? true,
      registrations: [{ agentId: id, agentRegistry: `eip155:${CHAIN_ID}:${REGISTRY}` }],
      ...(door.metadata ? { metadata: door.metadata } : {}),
    };
    return {
      agent_id: `${CHAIN_ID}:${REGISTRY}:${id}`,
      chain_id: CHAIN_ID,
      token_id: String(id),
      name: registration.name,
      owner_address: `0x${id.toString(16).padStart(40, '1')}`,
      raw_metadata: { offchain_uri: `data:application/json,${encodeURIComponent(JSON.stringify(registration))}` },
    };
  }
}

const UNFORWARDED = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'accept-encoding']);

/** Hands a request to the worker and its answer back, headers included. */
async function forward(request: IncomingMessage, response: ServerResponse, url: string): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  const headers = Object.fromEntries(
    Object.entries(request.headers).flatMap(([name, value]) =>
      typeof value === 'string' && !UNFORWARDED.has(name) ? [[name, value] as const] : [],
    ),
  );
  const isPost = request.method === 'POST';
  const answer = await fetch(url, {
    method: request.method ?? 'GET',
    headers,
    ...(isPost ? { body: Buffer.concat(chunks) } : {}),
  });
  const body = Buffer.from(await answer.arrayBuffer());
  for (const [name, value] of answer.headers) if (!UNFORWARDED.has(name)) response.setHeader(name, value);
  response.writeHead(answer.status).end(body);
}
