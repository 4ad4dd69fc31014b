import { readFileSync } from 'node:fs';
import { JSONRPCMessageSchema, type Progress } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { Experiment, type Host, Lab, scoreScript } from './harness.ts';

/** A client's budget for what it reads of a server before the first word (mcp.md section 7). */
const MAX_LIST_TOKENS = 4_500;
const INVALID_PARAMS = -32602;
const METHOD_NOT_FOUND = -32601;

const NAMES = [
  'discover_workers',
  'probe_worker',
  'submit_experiment',
  'get_experiment',
  'get_leaderboard',
  'run_loop',
  'get_status',
];

let lab: Lab;
let host: Host;

beforeAll(async () => {
  lab = await Lab.open([{ priceAtomic: 30_000n, slowdownMs: 1_000 }]);
  host = await lab.connect();
});

afterAll(async () => {
  await lab?.close();
});

const Tools = z.array(
  z.looseObject({
    name: z.string(),
    title: z.string().min(1),
    description: z.string().min(1),
    inputSchema: z.record(z.string(), z.unknown()),
    outputSchema: z.record(z.string(), z.unknown()),
    annotations: z.record(z.string(), z.unknown()),
  }),
);

async function listTools() {
  return Tools.parse((await host.client.listTools()).tools);
}

/** Everything in a schema that a strict reader stumbles over, with its place. */
function findFaults(schema: unknown, place: string): string[] {
  if (typeof schema === 'boolean') return [`${place}: boolean schema`];
  const node = z.record(z.string(), z.unknown()).parse(schema);
  const faults: string[] = [];
  if (Object.keys(node).length === 0) faults.push(`${place}: empty schema`);
  if (Array.isArray(node.type)) faults.push(`${place}: list of types`);
  if (node.$ref !== undefined) faults.push(`${place}: reference`);
  const children = z.record(z.string(), z.unknown()).safeParse(node.properties).data ?? {};
  for (const [name, child] of Object.entries(children)) faults.push(...findFaults(child, `${place}.${name}`));
  if (node.items !== undefined) faults.push(...findFaults(node.items, `${place}[]`));
  if (node.additionalProperties !== undefined && node.additionalProperties !== false)
    faults.push(...findFaults(node.additionalProperties, `${place}.*`));
  for (const word of ['anyOf', 'oneOf', 'allOf', 'not', 'patternProperties', 'propertyNames'])
    if (node[word] !== undefined) faults.push(`${place}: ${word}`);
  return faults;
}

/** Objects with named properties at any depth that take others, too. */
function findOpenObjects(schema: unknown, place: string): string[] {
  const node = z.record(z.string(), z.unknown()).parse(schema);
  const children = z.record(z.string(), z.unknown()).safeParse(node.properties).data;
  const isOpen = children !== undefined && node.additionalProperties !== false;
  return [
    ...(isOpen ? [place] : []),
    ...Object.entries(children ?? {}).flatMap(([name, child]) => findOpenObjects(child, `${place}.${name}`)),
    ...(node.items === undefined ? [] : findOpenObjects(node.items, `${place}[]`)),
  ];
}

describe('the tool list', () => {
  it('names seven tools in the order of a session', async () => {
    expect((await listTools()).map(({ name }) => name)).toEqual(NAMES);
  });

  it('fits into its budget of tokens', async () => {
    const { tools } = await host.client.listTools();
    expect(JSON.stringify(tools).length / 4).toBeLessThanOrEqual(MAX_LIST_TOKENS);
  });

  it('describes each within 1,024 characters and writes out all four annotations', async () => {
    for (const { name, description, annotations } of await listTools()) {
      expect(description.length, name).toBeLessThanOrEqual(1_024);
      expect(annotations, name).toEqual({
        readOnlyHint: expect.any(Boolean),
        destructiveHint: expect.any(Boolean),
        idempotentHint: expect.any(Boolean),
        openWorldHint: expect.any(Boolean),
      });
    }
  });

  it('calls what spends destructive, and what only looks read-only', async () => {
    const hints = new Map((await listTools()).map(({ name, annotations }) => [name, annotations]));
    for (const name of ['submit_experiment', 'run_loop'])
      expect(hints.get(name)).toMatchObject({ readOnlyHint: false, destructiveHint: true, idempotentHint: true });
    for (const name of ['discover_workers', 'probe_worker', 'get_leaderboard', 'get_status'])
      expect(hints.get(name)).toMatchObject({ readOnlyHint: true, destructiveHint: false });
  });

  it('advertises plain schemas that take and give no unknown field', async () => {
    for (const { name, inputSchema, outputSchema } of await listTools()) {
      expect(inputSchema, name).toMatchObject({ type: 'object', additionalProperties: false });
      expect(outputSchema, name).toMatchObject({ type: 'object' });
      const faults = [...findFaults(inputSchema, `${name} in`), ...findFaults(outputSchema, `${name} out`)];
      expect(faults).toEqual([]);
      expect([...findOpenObjects(inputSchema, `${name} in`), ...findOpenObjects(outputSchema, `${name} out`)]).toEqual(
        [],
      );
    }
  });

  it('is the same every time', async () => {
    expect(await listTools()).toEqual(await listTools());
  });
});

describe('the server', () => {
  it('says who it is and how to begin, briefly', () => {
    const { version } = z
      .object({ version: z.string() })
      .parse(JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')));
    expect(host.client.getServerVersion()).toMatchObject({ name: 'autoresearch-coordinator', version });
    const instructions = host.client.getInstructions() ?? '';
    expect(instructions).toContain('get_status');
    expect(Buffer.byteLength(instructions)).toBeLessThanOrEqual(1_536);
  });

  it('answers initialize and lists without a data folder that can be written', async () => {
    const other = await lab.connect({ env: { DATA_DIR: '/dev/null/folder' } });
    expect((await other.client.listTools()).tools).toHaveLength(NAMES.length);
    const refused = await other.refuse('get_status', {});
    expect(refused.code).toBe('bad_configuration');
    expect(refused.text).toContain('DATA_DIR');
  });

  it('writes nothing but JSON-RPC to stdout, at the chattiest log level and whatever it is sent', async () => {
    const server = lab.spawnServer({ env: { LOG_LEVEL: 'trace' } });
    expect((await server.request('server/discover')).error?.code).toBe(METHOD_NOT_FOUND);
    await server.initialize();
    const call = (name: string, args: unknown) => server.request('tools/call', { name, arguments: args });
    server.write('this is no JSON');
    server.write('{"jsonrpc":"2.0","method":"notifications/unheard"}');
    await server.request('tools/list');
    await call('get_status', {});
    await call('discover_workers', { with_prices: true });
    await call('probe_worker', { worker: 'http://127.0.0.1:1/nobody' });
    await call('submit_experiment', { train_py: scoreScript('1.5', 'purity'), wait_seconds: 20 });
    await call('submit_experiment', { train_py: 'import sys\nsys.exit("no")', wait_seconds: 20 });
    await call('no_such_tool', {});
    await call('submit_experiment', 'no object');
    await server.request('prompts/get', { name: 'think' });
    await server.request('resources/read', { uri: 'autoresearch://chart/all.svg' });
    await server.request('no/such/method');
    server.child.kill('SIGINT');
    expect(await server.exited).toEqual([0, null]);
    expect(server.lines.length).toBeGreaterThan(10);
    for (const line of server.lines) expect(JSONRPCMessageSchema.safeParse(JSON.parse(line)).success, line).toBe(true);
    expect(server.stderr).not.toBe('');
    for (const line of server.stderr.trimEnd().split('\n')) expect(() => JSON.parse(line), line).not.toThrow();
    expect(server.stderr).not.toMatch(/0x[0-9a-f]{130}|PAYMENT-SIGNATURE.{20}/i);
  });

  it('does not know server/discover, before and after initialize', async () => {
    await expect(host.client.request({ method: 'server/discover' }, z.looseObject({}))).rejects.toMatchObject({
      code: METHOD_NOT_FOUND,
    });
  });

  it('answers an unknown tool with what there is', async () => {
    const { text, code } = await host.refuse('submit_experimnt', {});
    expect(code).toBe('unknown_tool');
    for (const name of NAMES) expect(text).toContain(name);
  });

  it.each([
    'autoresearch://nothing',
    'autoresearch://experiments/exp-20260101-0123456789abcdef',
    `autoresearch://sources/sha256:${'0'.repeat(64)}`,
    'autoresearch://sources/../store.sqlite',
    'autoresearch://think/loop-20260101-0123456789abcdef',
    'autoresearch://chart/all.exe',
    'file:///etc/passwd',
  ])('answers the unknown resource %s as bad parameters', async (uri) => {
    await expect(host.client.readResource({ uri })).rejects.toMatchObject({ code: INVALID_PARAMS });
  });

  it('answers an unknown prompt, or one about an unknown loop, as bad parameters', async () => {
    await expect(host.client.getPrompt({ name: 'thnk' })).rejects.toMatchObject({ code: INVALID_PARAMS });
    await expect(
      host.client.getPrompt({ name: 'think', arguments: { loop_id: 'loop-20260101-0123456789abcdef' } }),
    ).rejects.toMatchObject({ code: INVALID_PARAMS });
  });
});

describe('waiting', () => {
  it.each([-1, 41, 1.5, '5', null])('refuses %j seconds', async (wait_seconds) => {
    const args = { experiment_id: 'exp-20260101-0123456789abcdef', wait_seconds };
    const { code, text } = await host.refuse('get_experiment', args);
    expect(code).toBe('bad_arguments');
    expect(text).toContain('wait_seconds');
  });

  it('ends with the experiment, not with the time', async () => {
    const done = await host.run({ train_py: scoreScript('1.5', 'done early') });
    for (const wait_seconds of [0, 40]) {
      const args = { experiment_id: done.experiment_id, wait_seconds };
      expect((await host.ok(Experiment, 'get_experiment', args)).state).toBe('published');
    }
  });

  it('is told about when the client wants to know, and not when it does not', async () => {
    const progress: Progress[] = [];
    const args = { train_py: scoreScript('1.5', 'with progress'), wait_seconds: 20 };
    const done = await host.ok(Experiment, 'submit_experiment', args, {
      onprogress: (one) => void progress.push(one),
    });
    expect(done.state).toBe('published');
    expect(progress.length).toBeGreaterThan(0);
    const counts = progress.map((one) => one.progress);
    expect(counts).toEqual(counts.toSorted((a, b) => a - b));
    expect(new Set(counts).size).toBe(counts.length);

    const server = lab.spawnServer();
    await server.initialize();
    const silent = { train_py: scoreScript('1.5', 'without progress'), wait_seconds: 20 };
    await server.request('tools/call', { name: 'submit_experiment', arguments: silent });
    expect(server.lines.filter((line) => line.includes('notifications/progress'))).toEqual([]);
  });

  it('that the client cancels stops nothing but the waiting', async () => {
    const other = await lab.connect();
    const leave = new AbortController();
    const args = { train_py: scoreScript('1.5', 'client leaves'), wait_seconds: 40 };
    const waiting = other.call('submit_experiment', args, { signal: leave.signal });
    const check = expect(waiting).rejects.toThrow();
    await expect.poll(() => lab.worker(0).isBusy(), { timeout: 15_000, interval: 20 }).toBe(true);
    leave.abort();
    await check;
    const [recent] = (await other.status()).recent;
    expect(await other.finish(recent?.experiment_id ?? '')).toMatchObject({ state: 'published', val_bpb: 1.5 });
  });
});
