import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import type { RequestOptions } from '@modelcontextprotocol/sdk/shared/protocol.js';
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { getAddress, type Hex, parseAbiItem, parseEventLogs } from 'viem';
import { expect, inject } from 'vitest';
import * as z from 'zod';
import { reputationRegistryAbi, usdcAbi } from '../src/base/abi.ts';
import { sleep } from '../src/base/time.ts';
import { createLocalClient } from '../src/localnet/chain.ts';
import type { LocalWorker, WorkerOptions } from '../src/localnet/local-worker.ts';
import { type Localnet, startLocalnet } from '../src/localnet/localnet.ts';
import { isAlive } from './localnet-client.ts';

/** What tests read of the answers; the client checks the whole of each against its advertised schema. */
export const Experiment = z.looseObject({
  experiment_id: z.string().regex(/^exp-\d{8}-[0-9a-f]{16}$/),
  state: z.string(),
  settlement: z.string(),
  summary: z.string().min(1),
  description: z.string(),
  train_hash: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  attempt: z.number(),
  next_step: z.string().min(1),
  worker_endpoint: z.string().optional(),
  price_atomic: z.string().optional(),
  price_usdc: z.string().optional(),
  payment_tx: z.string().optional(),
  val_bpb: z.number().optional(),
  verdict: z.string().optional(),
  reason: z.string().optional(),
  reason_code: z.string().optional(),
  worker_choice: z.string().optional(),
  hypothesis: z.string().optional(),
  agent: z.string().optional(),
  untrusted_note: z.string().optional(),
});
export type Experiment = z.infer<typeof Experiment>;

export const Loop = z.looseObject({
  loop_id: z.string(),
  state: z.string(),
  rounds_done: z.number(),
  rounds: z.number(),
  extra_runs: z.number(),
  best: z.looseObject({ experiment_id: z.string(), val_bpb: z.number(), verified: z.boolean() }).optional(),
  baseline_val_bpb: z.number().optional(),
  spent_usdc: z.string(),
  remaining_usdc: z.string(),
  results: z.array(
    z.looseObject({
      experiment_id: z.string(),
      state: z.string(),
      description: z.string(),
      val_bpb: z.number().optional(),
      verdict: z.string().optional(),
      worker_endpoint: z.string().optional(),
    }),
  ),
  refused: z.array(z.looseObject({ proposal: z.number(), code: z.string(), reason: z.string() })).optional(),
  think: z.string().optional(),
  reason: z.string().optional(),
  reason_code: z.string().optional(),
  next_step: z.string().min(1),
});
export type Loop = z.infer<typeof Loop>;

export const Status = z.looseObject({
  payer: z.string().optional(),
  chain: z.string(),
  balance_atomic: z.string().optional(),
  spent_atomic: z.string(),
  reserved_atomic: z.string(),
  caps: z.looseObject({ max_price_atomic: z.string(), budget_24h_atomic: z.string() }),
  in_flight: z.array(z.looseObject({ experiment_id: z.string(), state: z.string() })),
  loops: z.array(z.looseObject({ loop_id: z.string(), state: z.string() })),
  recent: z.array(z.looseObject({ experiment_id: z.string() })),
  runner_pid: z.number().optional(),
  data_dir: z.string(),
  next_step: z.string().min(1),
});

export const Quote = z.looseObject({
  worker_endpoint: z.string(),
  worker_id: z.string(),
  quote_id: z.string().min(20),
  price_usdc: z.string(),
  price_atomic: z.string(),
  asset: z.string(),
  network: z.string(),
  pay_to: z.string(),
  flow: z.string(),
  max_timeout_s: z.number(),
  expires_at: z.iso.datetime(),
  within_budget: z.boolean(),
  warnings: z.array(z.string()),
  next_step: z.string().min(1),
});

/** States in which nothing happens any more. */
export const FINAL_STATES = ['published', 'refused', 'failed', 'unpaid', 'lost', 'cancelled'];

const TRANSFER = parseAbiItem('event Transfer(address indexed from, address indexed to, uint256 value)');
const AUTHORIZATION_USED = parseAbiItem('event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)');

/** No call may hang longer than this, in milliseconds: a guard, not a measurement. */
const CALL_GUARD_MS = 45_000;
const GONE_GUARD_MS = 10_000;

/** A program that prints its score at once; another name or score makes it another program without a parent. */
export function scoreScript(valBpb: string, name = ''): string {
  return `name = ${JSON.stringify(`${name} ${valBpb}`)}\nprint("---")\nprint("val_bpb: ${valBpb}")\n`;
}

export interface Transfer {
  readonly from: Hex;
  readonly to: Hex;
  readonly value: bigint;
  readonly tx: Hex;
}

interface HostOptions {
  readonly dataDir?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Variables of the network that the server shall not get. */
  readonly without?: readonly string[];
  readonly cwd?: string;
}

/** One MCP client with the server process that it started. */
export class Host {
  readonly client: Client;
  readonly dataDir: string;
  readonly #transport: StdioClientTransport;

  constructor(client: Client, transport: StdioClientTransport, dataDir: string) {
    this.client = client;
    this.dataDir = dataDir;
    this.#transport = transport;
  }

  get pid(): number {
    return this.#transport.pid ?? 0;
  }

  /** A file of the store's folder. */
  file(...path: readonly string[]): string {
    return join(this.dataDir, 'autoresearch', ...path);
  }

  async call(name: string, args: Record<string, unknown>, options: RequestOptions = {}) {
    return CallToolResultSchema.parse(
      await this.client.callTool({ name, arguments: args }, CallToolResultSchema, {
        timeout: CALL_GUARD_MS,
        ...options,
      }),
    );
  }

  /** Calls a tool that must succeed; its text must be the mirror of its structured content. */
  async ok<T>(schema: z.ZodType<T>, name: string, args: Record<string, unknown>, options?: RequestOptions): Promise<T> {
    const { isError, content, structuredContent } = await this.call(name, args, options);
    expect(isError, JSON.stringify(content)).not.toBe(true);
    expect(content).toEqual([{ type: 'text', text: JSON.stringify(structuredContent, null, 2) }]);
    return schema.parse(structuredContent);
  }

  /** Calls a tool that must refuse: text alone, with a code and what to do next. */
  async refuse(name: string, args: Record<string, unknown>): Promise<{ text: string; code: string }> {
    const { isError, content, structuredContent } = await this.call(name, args);
    expect(isError, JSON.stringify(structuredContent)).toBe(true);
    expect(structuredContent).toBeUndefined();
    const [{ text }] = z.tuple([z.object({ type: z.literal('text'), text: z.string() })]).parse(content);
    expect(text).toMatch(/^Next step: \S.+$/m);
    return { text, code: /^Code: (\S+)$/m.exec(text)?.[1] ?? '' };
  }

  submit(args: Record<string, unknown>): Promise<Experiment> {
    return this.ok(Experiment, 'submit_experiment', { wait_seconds: 0, ...args });
  }

  /** Follows an experiment to its end. */
  async finish(experimentId: string): Promise<Experiment> {
    const deadlineMs = performance.now() + CALL_GUARD_MS;
    for (;;) {
      const now = await this.ok(Experiment, 'get_experiment', { experiment_id: experimentId, wait_seconds: 2 });
      if (FINAL_STATES.includes(now.state)) return now;
      if (performance.now() > deadlineMs) throw new Error(`${experimentId} does not end: ${JSON.stringify(now)}`);
    }
  }

  /** Submits and follows to the end. */
  async run(args: Record<string, unknown>): Promise<Experiment> {
    return this.finish((await this.submit(args)).experiment_id);
  }

  loop(args: Record<string, unknown>): Promise<Loop> {
    return this.ok(Loop, 'run_loop', { wait_seconds: 0, ...args });
  }

  /** Follows a loop until it wants something or is over. */
  async settle(loopId: string): Promise<Loop> {
    const deadlineMs = performance.now() + CALL_GUARD_MS;
    for (;;) {
      const now = await this.loop({ action: 'status', loop_id: loopId, wait_seconds: 2 });
      if (now.state !== 'running') return now;
      if (performance.now() > deadlineMs) throw new Error(`${loopId} does not end: ${JSON.stringify(now)}`);
    }
  }

  status() {
    return this.ok(Status, 'get_status', {});
  }

  /** Published records, once there are at least so many. */
  async readRecords(count: number, timeout = GONE_GUARD_MS): Promise<Record<string, unknown>[]> {
    const file = this.file('results.jsonl');
    const read = () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []);
    await expect.poll(() => read().length, { timeout }).toBeGreaterThanOrEqual(count);
    return read().map((line) => z.record(z.string(), z.unknown()).parse(JSON.parse(line)));
  }

  /** Ends the server by force. */
  async kill(): Promise<void> {
    const { pid } = this;
    process.kill(pid, 'SIGKILL');
    await waitUntilGone(pid);
    await this.client.close();
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

/** A server process without a client: its lines as they are. */
export class RawServer {
  readonly lines: string[] = [];
  readonly exited: Promise<readonly [number | null, NodeJS.Signals | null]>;
  readonly child: ChildProcessWithoutNullStreams;
  #stderr = '';
  #lastId = 0;

  constructor(cli: string, env: Readonly<Record<string, string>>) {
    const { PATH = '', HOME = '' } = process.env;
    this.child = spawn(process.execPath, [cli], { env: { PATH, HOME, ...env } });
    createInterface(this.child.stdout).on('line', (line) => this.lines.push(line));
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    // Writing to a server that has just left is no error of the test.
    this.child.stdin.on('error', () => {});
    this.exited = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve([code, signal]));
    });
  }

  get stderr(): string {
    return this.#stderr;
  }

  write(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  notify(method: string): void {
    this.write(JSON.stringify({ jsonrpc: '2.0', method }));
  }

  /** Sends a request and waits for the message that answers it. */
  async request(method: string, params: unknown = {}): Promise<Answer> {
    this.#lastId += 1;
    const id = this.#lastId;
    this.write(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    const find = () => this.lines.map((line) => Answer.safeParse(parseJson(line)).data).find((one) => one?.id === id);
    await expect.poll(find, { timeout: CALL_GUARD_MS }).toBeDefined();
    return Answer.parse(find());
  }

  async initialize(): Promise<Answer> {
    const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
    const answer = await this.request('initialize', params);
    this.notify('notifications/initialized');
    return answer;
  }
}

const Answer = z.looseObject({
  id: z.number(),
  result: z.record(z.string(), z.unknown()).optional(),
  error: z.object({ code: z.number(), message: z.string() }).optional(),
});
type Answer = z.infer<typeof Answer>;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A real network, the hosts that work with it, and everything to be cleaned up after them. */
export class Lab {
  readonly network: Localnet;
  readonly cli = inject('cli');
  readonly #chain: ReturnType<typeof createLocalClient>;
  readonly #hosts = new Set<Host>();
  readonly #servers: RawServer[] = [];
  readonly #folders: string[] = [];

  private constructor(network: Localnet) {
    this.network = network;
    this.#chain = createLocalClient(network.rpcUrl);
  }

  static async open(workers: readonly WorkerOptions[]): Promise<Lab> {
    return new Lab(await startLocalnet({ workers }));
  }

  worker(index: number): LocalWorker {
    const found = this.network.workers[index];
    if (!found) throw new Error(`no worker ${index}`);
    return found;
  }

  /** A new folder that is removed at the end. */
  createFolder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'autoresearch-test-'));
    this.#folders.push(folder);
    return folder;
  }

  /** The environment of a program that works with the network, in a data folder of its own unless one is named. */
  createEnv({ dataDir, env, without = [] }: HostOptions = {}): Record<string, string> {
    const all = {
      ...this.network.env,
      TMPDIR: tmpdir(),
      DATA_DIR: dataDir ?? this.createFolder(),
      AUTORESEARCH_RUNNER_IDLE: '1',
      LOG_LEVEL: 'error',
      ...env,
    };
    return Object.fromEntries(Object.entries(all).filter(([name]) => !without.includes(name)));
  }

  /** Starts a server and connects a client to it, which lists the tools so that it checks every answer. */
  async connect(options: HostOptions = {}): Promise<Host> {
    const env = this.createEnv(options);
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [this.cli],
      env,
      stderr: 'inherit',
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const client = new Client({ name: 'test', version: '1' });
    const host = new Host(client, transport, env.DATA_DIR ?? '');
    this.#hosts.add(host);
    await client.connect(transport);
    await client.listTools();
    return host;
  }

  /** Starts a server and talks to it line by line. */
  spawnServer(options: HostOptions = {}): RawServer {
    const server = new RawServer(this.cli, this.createEnv(options));
    this.#servers.push(server);
    return server;
  }

  balance(account: Hex = this.network.payer): Promise<bigint> {
    const { usdc } = this.network;
    return this.#chain.readContract({ address: usdc, abi: usdcAbi, functionName: 'balanceOf', args: [account] });
  }

  /** How many ratings of the payer an agent has. */
  async countFeedback(agentId: bigint): Promise<number> {
    const { reputationRegistry: address, payer } = this.network;
    const args = [agentId, payer] as const;
    return Number(
      await this.#chain.readContract({ address, abi: reputationRegistryAbi, functionName: 'getLastIndex', args }),
    );
  }

  /** Every transfer out of the payer's account, as the chain has it. */
  async transfers(): Promise<Transfer[]> {
    const logs = await this.#chain.getLogs({
      address: this.network.usdc,
      event: TRANSFER,
      args: { from: this.network.payer },
      fromBlock: 0n,
      strict: true,
    });
    return logs.map(({ args, transactionHash }) => ({ ...args, tx: transactionHash }));
  }

  /** Every authorization of the payer that was used, by its nonce. */
  async usedNonces(): Promise<Hex[]> {
    const logs = await this.#chain.getLogs({
      address: this.network.usdc,
      event: AUTHORIZATION_USED,
      args: { authorizer: this.network.payer },
      fromBlock: 0n,
      strict: true,
    });
    return logs.map(({ args }) => args.nonce);
  }

  /** The one transfer of a transaction. */
  async readTransfer(tx: string): Promise<Transfer> {
    const hash: Hex = `0x${tx.slice(2)}`;
    const { logs, status } = await this.#chain.getTransactionReceipt({ hash });
    expect(status).toBe('success');
    const [event, ...others] = parseEventLogs({ abi: usdcAbi, eventName: 'Transfer', logs });
    expect(others).toEqual([]);
    if (!event) throw new Error(`${tx} moved nothing`);
    expect(getAddress(event.address)).toBe(getAddress(this.network.usdc));
    return { ...event.args, tx: hash };
  }

  /** Runs something and proves that no money moved and that the store neither spent nor holds any. */
  async withoutPayment<T>(host: Host, action: () => Promise<T>): Promise<T> {
    const [balance, ledger] = [await this.balance(), await host.status()];
    const result = await action();
    const { spent_atomic, reserved_atomic } = await host.status();
    expect({ spent_atomic, reserved_atomic }).toEqual({
      spent_atomic: ledger.spent_atomic,
      reserved_atomic: ledger.reserved_atomic,
    });
    expect(await this.balance()).toBe(balance);
    return result;
  }

  /** Ends everything: runners, servers, network, folders. Fails when a process is left. */
  async close(): Promise<void> {
    for (const host of this.#hosts) {
      const status = await host.status().catch(() => undefined);
      await host.close();
      if (status?.runner_pid !== undefined) await endProcess(status.runner_pid);
    }
    for (const { child, exited } of this.#servers) {
      child.kill('SIGKILL');
      await exited;
    }
    // A runner that was just starting, or one that a killed server left.
    for (const folder of this.#folders) for (const pid of listProcesses(folder)) await endProcess(pid);
    await this.network.stop();
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true });
    expect(this.#folders.flatMap(listProcesses)).toEqual([]);
  }
}

/** Ends a process that a test started, and waits until it is gone. */
async function endProcess(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    return;
  }
  await waitUntilGone(pid);
}

/** Works outside of tests, too, where `expect.poll` does not. */
async function waitUntilGone(pid: number): Promise<void> {
  const deadlineMs = performance.now() + GONE_GUARD_MS;
  while (isAlive(pid)) {
    if (performance.now() > deadlineMs) throw new Error(`process ${pid} does not end`);
    await sleep(20);
  }
}

/** Processes that have a folder as DATA_DIR, where the system shows that (Linux); otherwise none. */
export function listProcesses(dataDir: string): number[] {
  if (!existsSync('/proc/self/environ')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => isAlive(pid) && readEnvironment(pid).includes(`DATA_DIR=${dataDir}`));
}

function readEnvironment(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}
