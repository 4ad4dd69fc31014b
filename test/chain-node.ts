import { createServer } from 'node:http';
import * as z from 'zod';

export const RpcMessage = z.looseObject({ id: z.number(), method: z.string(), params: z.array(z.unknown()) });
export type RpcMessage = z.infer<typeof RpcMessage>;

/** What stands between a client and a node: an answer of its own, `hang`, or undefined to let the node answer. */
export type Interference = (message: RpcMessage, batchSize: number) => unknown;

const LogFilter = z.looseObject({ fromBlock: z.string(), toBlock: z.string() });

/** A JSON-RPC node before a real one: it counts, refuses, hangs and lies as told. */
export async function startNode(target: string, interfere: Interference = () => undefined) {
  const messages: RpcMessage[] = [];
  let requests = 0;
  let interference = interfere;
  const answer = async (message: RpcMessage, batchSize: number): Promise<unknown> => {
    messages.push(message);
    const own = await interference(message, batchSize);
    if (own === 'hang') return new Promise(() => undefined);
    if (own !== undefined) return { jsonrpc: '2.0', id: message.id, ...z.looseObject({}).parse(own) };
    const response = await fetch(target, {
      method: 'POST',
      body: JSON.stringify(message),
      headers: { 'content-type': 'application/json' },
    });
    return response.json();
  };
  const server = createServer(async (request, response) => {
    requests += 1;
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    const list = z.array(RpcMessage).safeParse(body);
    const result = list.success
      ? await Promise.all(list.data.map((message) => answer(message, list.data.length)))
      : await answer(RpcMessage.parse(body), 1);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(result));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    get requests() {
      return requests;
    },
    countOf: (method: string) => messages.filter((message) => message.method === method).length,
    /** Ranges of blocks whose logs were asked for. */
    ranges: () =>
      messages
        .filter(({ method }) => method === 'eth_getLogs')
        .map(({ params }) => LogFilter.parse(params[0]))
        .map(({ fromBlock, toBlock }) => ({ from: Number(fromBlock), to: Number(toBlock) })),
    forget: () => {
      messages.length = 0;
      requests = 0;
    },
    interfere: (next: Interference) => {
      interference = next;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Refuses logs of more blocks than that. */
export function limitBlocks(max: number): Interference {
  return ({ method, params }) => {
    if (method !== 'eth_getLogs') return undefined;
    const { fromBlock, toBlock } = LogFilter.parse(params[0]);
    const isTooWide = Number(toBlock) - Number(fromBlock) + 1 > max;
    return isTooWide ? { error: { code: -32600, message: 'block range too wide' } } : undefined;
  };
}
