/**
 * The index and the workers of `bench/discovery.ts`, in a process of their own so that their work is not counted as
 * discovery's. One port on all loopback addresses: every worker has a host of its own. Prints the port.
 */
import { createServer, type ServerResponse } from 'node:http';
import { CHAIN_ID, hostOf, kindOf, REGISTRY, readScene, type Scene } from './discovery-scene.ts';

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://x');
  const [, text = '', place = '', ...rest] = url.pathname.split('/');
  const scene = readScene(text);
  if (place === 'api') return send(response, listPage(text, scene, url.searchParams));
  const worker = Number(place);
  const kind = kindOf(scene, worker);
  if (kind === 'hangs') return;
  const body = rest[0] === 'health' ? { status: 'ok', busy: false } : registration(text, worker);
  setTimeout(() => (kind === 'garbage' ? response.end('<html>') : send(response, body)), scene.delayMs);
});
server.listen(0, '0.0.0.0', () => process.stdout.write(`${portOf()}\n`));
process.stdin.on('end', () => process.exit(0)).resume();

function portOf(): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

function send(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function baseOf(scene: string, worker: number): string {
  return `http://${hostOf(worker)}:${portOf()}/${scene}/${worker}`;
}

function registration(scene: string, worker: number) {
  return {
    type: 'https://eips.ethereum.org/EIPS/eip-8004#registration-v1',
    name: `Rig ${worker}`,
    description: 'Runs train.py experiments of autoresearch on one GPU, paid per experiment over x402',
    services: [
      { name: 'web', endpoint: baseOf(scene, worker) },
      { name: 'OASF', version: '0.8', skills: ['devops_mlops/model_versioning'] },
    ],
    x402Support: true,
    active: true,
    registrations: [{ agentId: worker, agentRegistry: `eip155:${CHAIN_ID}:${REGISTRY}` }],
    metadata: { gpu: 'H100', best_val_bpb: (0.95 + worker / 10_000).toFixed(4), updated: '2026-10-01T00:00:00Z' },
  };
}

/** A page of the index in its public form, each row with the address of its registration. */
function listPage(scene: string, { count }: Scene, query: URLSearchParams) {
  const [limit, page] = [Number(query.get('limit') ?? 20), Number(query.get('page') ?? 1)];
  const from = (page - 1) * limit;
  const data = Array.from({ length: Math.max(0, Math.min(limit, count - from)) }, (_, index) => {
    const worker = from + index;
    return {
      agent_id: `${CHAIN_ID}:${REGISTRY}:${worker}`,
      chain_id: CHAIN_ID,
      token_id: String(worker),
      name: `Rig ${worker}`,
      description: 'Runs train.py experiments of autoresearch on one GPU, paid per experiment over x402',
      owner_address: `0x${worker.toString(16).padStart(40, '1')}`,
      raw_metadata: { offchain_uri: `${baseOf(scene, worker)}/registration.json` },
    };
  });
  return { success: true, data, meta: { pagination: { page, limit, total: count, hasMore: from + limit < count } } };
}
