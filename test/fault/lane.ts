import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';
import * as z from 'zod';
import { formatUsd } from '../../src/base/money.ts';
import { sleep } from '../../src/base/time.ts';
import { type Db, openDatabase } from '../../src/store/database.ts';
import { isAlive } from '../localnet-client.ts';
import { auditFolder, type FolderAudit, readRecordLines } from './audit.ts';
import { type Crash, CrashControl, type PlannedCrash, type Role, type TimedCrash } from './crashes.ts';
import { type ChaosNetwork, type LaneWorkers, PRICE_ATOMIC } from './network.ts';
import type { Random } from './random.ts';

/** Nothing may hang longer than this: a guard, not a measurement. */
const GUARD_MS = 90_000;
const LOOK_MS = 15;

/** What an iteration does: experiments of these workers, with these deaths, one process after the other. */
export interface Scenario {
  readonly workers: readonly (keyof LaneWorkers)[];
  readonly crashes: readonly Crash[];
}

export interface Kill {
  readonly role: Role;
  /** Where it happened, in words. */
  readonly place: string;
}

export interface LaneOptions {
  readonly network: ChaosNetwork;
  readonly workers: LaneWorkers;
  readonly cli: string;
  readonly random: Random;
  readonly hasRemoteSigner: boolean;
  /** How many experiments the folder will see: its budget covers exactly these. */
  readonly experimentCount: number;
  readonly onKill: (kill: Kill) => void;
  readonly isTracing?: boolean;
}

interface Order {
  readonly key: string;
  readonly valBpb: string;
  readonly worker: string;
  experimentId: string | undefined;
}

interface Host {
  readonly client: Client;
  readonly transport: StdioClientTransport;
}

const Submitted = z.looseObject({ experiment_id: z.string(), state: z.string() });
const View = z.looseObject({
  state: z.string(),
  settlement: z.string(),
  val_bpb: z.number().optional(),
  reason: z.string().optional(),
});

/** Scores are unique over all experiments of this process, so that results cannot be mistaken for each other. */
let lastScore = 200_000;

/** One data folder with its server, its runner and a client that does not give up. */
export class Lane {
  readonly control: CrashControl;
  readonly folder: string;
  readonly #options: LaneOptions;
  readonly #fromBlock: bigint;
  readonly #orders: Order[] = [];
  readonly #env: Record<string, string>;
  readonly #children = new Set<ChildProcess>();
  #host: Promise<Host> | undefined;
  #serverPid: number | undefined;
  #db: Db | undefined;

  private constructor(options: LaneOptions, fromBlock: bigint) {
    this.#options = options;
    this.#fromBlock = fromBlock;
    this.folder = mkdtempSync(join(tmpdir(), 'autoresearch-chaos-'));
    const dataDir = join(this.folder, 'data');
    mkdirSync(dataDir);
    this.control = new CrashControl(join(this.folder, 'control'));
    this.#env = { ...createEnv(options, dataDir), ...this.control.env };
  }

  static async open(options: LaneOptions): Promise<Lane> {
    return new Lane(options, await options.network.readBlock());
  }

  get dataDir(): string {
    return join(this.folder, 'data');
  }

  /** Runs a scenario until every experiment has ended and every death that could happen has happened. */
  async run(scenario: Scenario): Promise<void> {
    const orders = scenario.workers.map((worker) => this.#createOrder(worker));
    const deaths = this.#suffer(scenario.crashes, orders);
    await Promise.all(orders.map((order) => this.#submit(order)));
    await this.#untilEnded(orders);
    await deaths;
    // A death after the end, or one that came while nobody looked, may have left the last step to a successor.
    await this.#untilEnded(orders);
    for (const order of orders) await this.#check(order);
  }

  /** Lets the runner leave, which may be killed in that, too; then checks the books. */
  async close(leaving: readonly Crash[] = []): Promise<FolderAudit> {
    for (const crash of leaving) {
      await this.#ensureRunner();
      await this.#awaitBooks();
      const death = this.#suffer([crash], []);
      this.#signalRunners('SIGTERM');
      await this.#untilNoRunner();
      await death;
    }
    await this.#ensureRunner();
    await this.#awaitBooks();
    this.#signalRunners('SIGTERM');
    await this.#untilNoRunner();
    const { network } = this.#options;
    return auditFolder(await this.#openDb(), {
      folder: join(this.dataDir, 'autoresearch'),
      settlements: await network.readSettlements(this.#fromBlock),
      budgetAtomic: BigInt(this.#options.experimentCount) * PRICE_ATOMIC,
      orders: this.#orders,
    });
  }

  /** Ends what is left, by force. */
  async dispose(isFolderKept = false): Promise<void> {
    this.control.disarm('runner');
    this.control.disarm('server');
    await (await this.#host?.catch(() => undefined))?.client.close();
    for (const role of ['server', 'runner'] as const) {
      // Twice: a runner that a server was just starting had not signed in yet.
      for (const _ of [1, 2]) for (const pid of this.control.listAlive(role)) await endProcess(pid);
    }
    await this.#db?.destroy();
    if (!isFolderKept) rmSync(this.folder, { recursive: true, force: true });
  }

  #createOrder(worker: keyof LaneWorkers): Order {
    lastScore += 1;
    const order: Order = {
      key: `chaos-${lastScore}`,
      valBpb: `1.${lastScore}`,
      worker: this.#options.workers[worker],
      experimentId: undefined,
    };
    this.#orders.push(order);
    return order;
  }

  /** Calls until an answer comes, with a new server after each death of one. */
  async #call<T>(schema: z.ZodType<T>, name: string, args: Record<string, unknown>): Promise<T> {
    const deadlineMs = performance.now() + GUARD_MS;
    for (;;) {
      const answer = await this.#tryCall(name, args);
      if (answer && !answer.isError) return schema.parse(answer.structuredContent);
      if (answer) throw new Error(`${name} was refused: ${JSON.stringify(answer.content)}`);
      if (performance.now() > deadlineMs) throw new Error(`${name} is never answered`);
    }
  }

  /** @returns undefined when the server died over it */
  async #tryCall(name: string, args: Record<string, unknown>) {
    const host = await this.#connect().catch(() => undefined);
    if (!host) return undefined;
    try {
      const answer = await host.client.callTool({ name, arguments: args }, CallToolResultSchema, { timeout: GUARD_MS });
      return CallToolResultSchema.parse(answer);
    } catch (error) {
      if (host.transport.pid !== null) throw error;
      return undefined;
    }
  }

  #connect(): Promise<Host> {
    this.#host ??= this.#startServer();
    return this.#host;
  }

  async #startServer(): Promise<Host> {
    const transport = new StdioClientTransport({
      command: process.execPath,
      args: [this.#options.cli],
      env: this.#env,
      stderr: 'pipe',
    });
    const log = join(this.folder, 'server.log');
    transport.stderr?.on('data', (chunk: Buffer) => appendFileSync(log, chunk));
    const client = new Client({ name: 'chaos', version: '1' });
    client.onclose = () => {
      this.#host = undefined;
    };
    await client.connect(transport);
    this.#serverPid = transport.pid ?? undefined;
    return { client, transport };
  }

  async #submit(order: Order): Promise<void> {
    const { experiment_id: id } = await this.#call(Submitted, 'submit_experiment', {
      train_py: `print("---")\nprint("val_bpb: ${order.valBpb}")\n`,
      worker: order.worker,
      idempotency_key: order.key,
      allow_upfront: true,
      wait_seconds: 0,
    });
    order.experimentId = id;
  }

  /** Dies where it is told to, again and again; after each death somebody starts a successor. */
  async #suffer(crashes: readonly Crash[], orders: readonly Order[]): Promise<void> {
    let restart = async () => {};
    for (const crash of crashes) {
      // Before the successor starts: it may have to die in its very first step.
      const planId = crash.event === 'time' ? undefined : this.control.arm(crash);
      await restart();
      restart = async () => {};
      const place =
        crash.event === 'time'
          ? await this.#dieInTime(crash, orders)
          : await this.#dieOfPlan(crash, planId ?? 0, orders);
      if (place === undefined) continue;
      this.#options.onKill({ role: crash.role, place });
      if (orders.length > 0) restart = () => this.#restart(crash.role);
    }
    await restart();
  }

  /** @returns where it died; undefined when all ended without coming by that place */
  async #dieOfPlan({ role, event, side }: PlannedCrash, planId: number, orders: readonly Order[]) {
    const deadlineMs = performance.now() + GUARD_MS;
    for (let isTakenBack = false; ; await sleep(LOOK_MS)) {
      const place = this.control.findDeath(planId);
      if (place !== undefined) return `${side} ${event} ${place}`;
      if (performance.now() > deadlineMs) throw new Error(`nobody dies ${side} ${event}`);
      if (isTakenBack) continue;
      const isOver = orders.length > 0 ? await this.#haveEnded(orders) : this.control.listAlive('runner').length === 0;
      // What cannot be taken back is being carried out.
      if (isOver && this.control.disarm(role)) return undefined;
      isTakenBack = isOver;
      if (!isOver && role === 'runner') await this.#reviveRunner(orders);
    }
  }

  /** @returns where it died; undefined when all ended before and nobody is left to die */
  async #dieInTime({ role, afterMs }: TimedCrash, orders: readonly Order[]): Promise<string | undefined> {
    await sleep(afterMs);
    const deadlineMs = performance.now() + GUARD_MS;
    for (;;) {
      if (performance.now() > deadlineMs) throw new Error(`there is no ${role} to die`);
      const [pid] = this.control.listAlive(role);
      if (pid !== undefined) {
        killHard(pid);
        await waitUntilGone(pid);
        return `time at ${(await this.#readStates(orders)).join(',') || 'nothing'}`;
      }
      // Finished work needs no runner, so none comes any more.
      if (role === 'runner' && orders.length > 0 && (await this.#haveEnded(orders))) return undefined;
      if (role === 'runner') await this.#reviveRunner(orders);
      else await this.#connect().catch(() => {});
      await sleep(LOOK_MS);
    }
  }

  async #restart(role: Role): Promise<void> {
    if (role === 'server') return;
    // A host that is started anew finds the work by itself; else the operator starts a runner.
    if (!this.#options.random.chance(0.25)) return this.#startRunner();
    if (this.#serverPid !== undefined && isAlive(this.#serverPid)) {
      await endProcess(this.#serverPid);
      this.#options.onKill({ role: 'server', place: 'after its runner' });
    }
    await this.#tryCall('get_status', {});
  }

  /** Somebody else's death, or a server that had no chance to start one, may have left nobody to do the work. */
  async #reviveRunner(orders: readonly Order[]): Promise<void> {
    const isSubmitted = orders.every(({ experimentId }) => experimentId !== undefined);
    if (isSubmitted && this.control.listAlive('runner').length === 0 && !(await this.#haveEnded(orders)))
      this.#startRunner();
  }

  #startRunner(): void {
    // A process that has not signed in yet counts, too.
    if ([...this.#children].some(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) return;
    const log = openSync(join(this.folder, 'runner.log'), 'a');
    const child = spawn(process.execPath, [this.#options.cli, 'runner'], {
      env: { PATH: process.env.PATH ?? '', ...this.#env },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
  }

  async #ensureRunner(): Promise<void> {
    if (this.control.listAlive('runner').length === 0) this.#startRunner();
  }

  #signalRunners(signal: NodeJS.Signals): void {
    for (const pid of this.control.listAlive('runner')) {
      try {
        process.kill(pid, signal);
      } catch {
        // It ended just now.
      }
    }
  }

  async #untilEnded(orders: readonly Order[]): Promise<void> {
    const deadlineMs = performance.now() + GUARD_MS;
    while (!(await this.#haveEnded(orders))) {
      if (performance.now() > deadlineMs) throw new Error(`no end: ${(await this.#readStates(orders)).join(', ')}`);
      await this.#reviveRunner(orders);
      await sleep(2 * LOOK_MS);
    }
  }

  async #untilNoRunner(): Promise<void> {
    const deadlineMs = performance.now() + GUARD_MS;
    while (this.control.listAlive('runner').length > 0 || this.#children.size > 0) {
      if (performance.now() > deadlineMs) throw new Error('a runner does not leave');
      await sleep(LOOK_MS);
    }
  }

  /** Waits until every record is exported and nothing is reserved; what never comes is for the audit to tell. */
  async #awaitBooks(): Promise<void> {
    const db = await this.#openDb();
    const deadlineMs = performance.now() + 20_000;
    while (performance.now() < deadlineMs) {
      const [records, held] = await Promise.all([
        db.selectFrom('records').select('seq').execute(),
        db.selectFrom('ledger').select('entry').where('state', '=', 'held').execute(),
      ]);
      const lines = readRecordLines(join(this.dataDir, 'autoresearch'));
      if (held.length === 0 && lines.length >= records.length && this.control.listAlive('runner').length > 0) return;
      await this.#ensureRunner();
      await sleep(2 * LOOK_MS);
    }
  }

  async #haveEnded(orders: readonly Order[]): Promise<boolean> {
    const ids = orders.flatMap(({ experimentId }) => experimentId ?? []);
    if (ids.length < orders.length) return false;
    const db = await this.#openDb();
    const open = await db
      .selectFrom('experiments')
      .select('experiment_id')
      .where('experiment_id', 'in', ids)
      .where('finished_at', 'is', null)
      .execute();
    return open.length === 0;
  }

  async #readStates(orders: readonly Order[]): Promise<string[]> {
    const ids = orders.flatMap(({ experimentId }) => experimentId ?? []);
    if (ids.length === 0) return [];
    const db = await this.#openDb();
    const rows = await db.selectFrom('experiments').select('state').where('experiment_id', 'in', ids).execute();
    return [...new Set(rows.map(({ state }) => state))].sort();
  }

  async #check(order: Order): Promise<void> {
    const view = await this.#call(View, 'get_experiment', { experiment_id: order.experimentId, wait_seconds: 0 });
    if (view.state === 'published' && view.settlement === 'settled' && view.val_bpb === Number(order.valBpb)) return;
    throw new Error(`${order.experimentId} ended as ${JSON.stringify(view)}, expected a score of ${order.valBpb}`);
  }

  /** The store, only once a server has made it: making it is what is tested. */
  async #openDb(): Promise<Db> {
    this.#db ??= await openDatabase(this.dataDir);
    return this.#db;
  }
}

function createEnv(
  { network, workers, hasRemoteSigner, experimentCount, isTracing }: LaneOptions,
  dataDir: string,
): Record<string, string> {
  const {
    AUTORESEARCH_PRIVATE_KEY_FILE: keyFile = '',
    AUTORESEARCH_ALLOW_HTTP_HOSTS: hosts = '',
    ...env
  } = network.localnet.env;
  const doubles = [workers.async, workers.upfront].map((url) => new URL(url).host);
  return {
    ...env,
    ...(hasRemoteSigner ? { REMOTE_SIGNER_URL: network.signer.url } : { AUTORESEARCH_PRIVATE_KEY_FILE: keyFile }),
    ...(isTracing ? { CRASH_TRACE: '1' } : {}),
    AUTORESEARCH_ALLOW_HTTP_HOSTS: [hosts, ...doubles].join(','),
    AUTORESEARCH_BUDGET: formatUsd(BigInt(experimentCount) * PRICE_ATOMIC),
    // Longer than any pause between experiments: when a runner leaves is decided here.
    AUTORESEARCH_RUNNER_IDLE: '60',
    DATA_DIR: dataDir,
    TMPDIR: tmpdir(),
    LOG_LEVEL: 'info',
  };
}

function killHard(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended just now.
  }
}

async function endProcess(pid: number): Promise<void> {
  killHard(pid);
  await waitUntilGone(pid);
}

async function waitUntilGone(pid: number): Promise<void> {
  const deadlineMs = performance.now() + GUARD_MS;
  while (isAlive(pid)) {
    if (performance.now() > deadlineMs) throw new Error(`process ${pid} does not end`);
    await sleep(5);
  }
}
