import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import type { Hex } from 'viem';
import { expect } from 'vitest';
import { usdcAbi } from '../../src/base/abi.ts';
import { CoordinatorError } from '../../src/base/errors.ts';
import { ExperimentId } from '../../src/base/ids.ts';
import { sleep } from '../../src/base/time.ts';
import { readConfig } from '../../src/config.ts';
import { type ExperimentView, viewExperiment } from '../../src/coordinator/experiment-view.ts';
import { type SubmitInput, submitExperiment } from '../../src/coordinator/experiments.ts';
import { createPorts } from '../../src/coordinator/ports.ts';
import { probeWorker } from '../../src/coordinator/probe.ts';
import { openServices, type Services } from '../../src/coordinator/services.ts';
import { RunnerStarter } from '../../src/coordinator/spawn-runner.ts';
import type { Patience } from '../../src/experiment/drive.ts';
import { ExperimentEngine } from '../../src/experiment/engine.ts';
import { loadExperiment } from '../../src/experiment/experiment.ts';
import { sweepAuthorizations } from '../../src/experiment/sweep.ts';
import { createLocalClient, type LocalClient } from '../../src/localnet/chain.ts';
import { startFacilitator } from '../../src/localnet/facilitator.ts';
import type { HttpPart } from '../../src/localnet/listen.ts';
import { type Localnet, startLocalnet } from '../../src/localnet/localnet.ts';
import { type HttpAnswer, HttpClient, type HttpRequest } from '../../src/net/http.ts';
import { loadAttempts } from '../../src/payment/attempt.ts';
import { PaymentDesk } from '../../src/payment/desk.ts';
import type { TransferTypedData } from '../../src/payment/guard.ts';
import { loadLocalKey } from '../../src/payment/local-key.ts';
import { configureWallet, type Wallet } from '../../src/payment/wallet.ts';
import { loadMasterSecret, openDatabase } from '../../src/store/database.ts';
import { WorkerClient } from '../../src/worker/client.ts';
import { HostileWorker } from './hostile-worker.ts';

export const SCRIPT = 'print("val_bpb: 1.5")\n';
/** A guard against hanging, not a measurement, in milliseconds. */
const GUARD_MS = 25_000;
const PATIENCE: Patience = { pollMs: 20, busyMs: 100, queueMs: 3_000, lostMs: 1_000 };

/** What the store's ledger says of one experiment, atomic USDC. */
export interface Ledger {
  readonly held: number;
  readonly spent: number;
  readonly released: number;
}

/** Whoever has an endpoint can be submitted to. */
type Target = Pick<HostileWorker, 'endpoint'>;

export interface HouseOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Take the wallet that the environment configures instead of the network's key. */
  readonly isWalletFromEnv?: boolean;
  /** Cuts the product's own deadlines short, in milliseconds: minutes otherwise. */
  readonly deadlineMs?: number;
  readonly patience?: Partial<Patience>;
  readonly dataDir?: string;
  /** Further hosts that it may reach. */
  readonly hosts?: readonly string[];
}

/** A real chain with a facilitator, strangers on it, and coordinators in this process that meet them. */
export class PeerLab {
  readonly network: Localnet;
  readonly client: LocalClient;
  readonly facilitator: HttpPart;
  readonly #closing: (() => Promise<unknown>)[] = [];
  readonly #folders: string[] = [];
  readonly #workers: HostileWorker[] = [];
  #offsetMs = 0;
  #template: Promise<string> | undefined;

  private constructor(network: Localnet, client: LocalClient, facilitator: HttpPart) {
    this.network = network;
    this.client = client;
    this.facilitator = facilitator;
  }

  static async open(): Promise<PeerLab> {
    const network = await startLocalnet({ workers: 0 });
    const client = createLocalClient(network.rpcUrl);
    const account = (await client.getAddresses()).at(-1);
    if (!account) throw new Error('the chain has no account');
    return new PeerLab(network, client, await startFacilitator(client, account));
  }

  async worker(): Promise<HostileWorker> {
    const worker = await HostileWorker.start(this.facilitator.origin);
    this.#workers.push(worker);
    this.#closing.push(() => worker.close());
    return worker;
  }

  folder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'autoresearch-peer-'));
    this.#folders.push(folder);
    return folder;
  }

  /** The clock of every coordinator here; it goes with that of the chain. */
  nowMs(): number {
    return Date.now() + this.#offsetMs;
  }

  /** Lets time pass for the chain and for every coordinator, without waiting. */
  async passTime(seconds: number): Promise<void> {
    this.#offsetMs += seconds * 1_000;
    await this.client.increaseTime({ seconds });
    await this.client.mine({ blocks: 1 });
  }

  /** Lets time pass until no authorization that was signed before can be used any more. */
  passWindow(): Promise<void> {
    return this.passTime(1_000);
  }

  balance(account: Hex): Promise<bigint> {
    return this.client.readContract({
      address: this.network.usdc,
      abi: usdcAbi,
      functionName: 'balanceOf',
      args: [account],
    });
  }

  /** A data folder with an empty store, copied: making one takes longer than most tests. */
  async dataDir(): Promise<string> {
    this.#template ??= this.#createTemplate();
    const folder = this.folder();
    cpSync(await this.#template, folder, { recursive: true });
    return folder;
  }

  async #createTemplate(): Promise<string> {
    const folder = this.folder();
    await (await openDatabase(folder)).destroy();
    return folder;
  }

  /** Opens a coordinator with a store of its own that may reach every worker of this lab. */
  async house(options: HouseOptions = {}): Promise<House> {
    const house = await House.open(this, options, [
      new URL(this.network.indexUrl).host,
      ...this.#workers.map(({ host }) => host),
      ...(options.hosts ?? []),
    ]);
    this.#closing.push(() => house.close());
    return house;
  }

  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    await this.facilitator.close();
    await this.network.stop();
    for (const folder of this.#folders) rmSync(folder, { recursive: true, force: true });
  }
}

/** Cuts deadlines short, so that a test of one does not take minutes. */
class HastyHttpClient extends HttpClient {
  readonly #deadlineMs: number;

  constructor(allowHttpHosts: readonly string[], deadlineMs: number) {
    super({ allowHttpHosts, userAgent: 'autoresearch-coordinator/test' });
    this.#deadlineMs = deadlineMs;
  }

  override request(options: HttpRequest): Promise<HttpAnswer> {
    return super.request({ ...options, deadlineMs: Math.min(options.deadlineMs, this.#deadlineMs) });
  }
}

/** One coordinator: its store, its wallet with a record of what was signed, and its engine. */
export class House {
  readonly services: Services;
  readonly signed: TransferTypedData[];
  /** Errors that were none of ours: there must be none. */
  readonly unexpected: unknown[];
  readonly #lab: PeerLab;
  readonly #patience: Patience;
  #engine: ExperimentEngine;
  #isClosed = false;
  /** The state at which the process ends, as a crash would end it there; `restart` goes on. */
  haltAt: string | null = null;

  private constructor(
    lab: PeerLab,
    services: Services,
    signed: TransferTypedData[],
    unexpected: unknown[],
    patience: Patience,
  ) {
    this.#lab = lab;
    this.services = services;
    this.signed = signed;
    this.unexpected = unexpected;
    this.#patience = patience;
    this.#engine = new ExperimentEngine(createPorts(services, patience), 'test');
  }

  static async open(lab: PeerLab, options: HouseOptions, hosts: readonly string[]): Promise<House> {
    const config = readConfig({
      ...lab.network.env,
      DATA_DIR: options.dataDir ?? (await lab.dataDir()),
      AUTORESEARCH_ALLOW_HTTP_HOSTS: hosts.join(),
      ...options.env,
    });
    const unexpected: unknown[] = [];
    let onState: (state: unknown) => void = () => {};
    const log = {
      debug() {},
      info: (fields: Record<string, unknown>) => onState(fields.state),
      warn() {},
      error: (fields: Record<string, unknown>) => void unexpected.push(fields.error),
    };
    const services = await openServices(config, 'test', log);
    const signed: TransferTypedData[] = [];
    // A power failure is none of these tests' business, and syncing takes most of their time.
    await sql`pragma synchronous = off`.execute(services.db);
    const clock = { nowMs: () => lab.nowMs() };
    const http = new HastyHttpClient(hosts, options.deadlineMs ?? GUARD_MS);
    const desk = new PaymentDesk({
      db: services.db,
      wallet: options.isWalletFromEnv ? configureWallet(config) : recordWallet(config.privateKeyFile ?? '', signed),
      caps: services.desk.caps,
      maxValiditySeconds: config.maxValiditySeconds,
      openChain: services.openChain,
      masterSecret: await loadMasterSecret(services.db, () => ''),
      clock,
    });
    const close = async () => {
      await http.close();
      await services.close();
    };
    const patience = { ...PATIENCE, ...options.patience };
    const parts = { ...services, clock, http, worker: new WorkerClient(http), desk, close };
    const house = new House(lab, parts, signed, unexpected, patience);
    onState = (state) => {
      if (house.haltAt !== null && state === house.haltAt) void house.#engine.stop();
    };
    return house;
  }

  probe(worker: Target) {
    return probeWorker(this.services, worker.endpoint);
  }

  /** The id of a quote that a probe gives. */
  async quote(worker: Target): Promise<string> {
    const probed = await this.probe(worker);
    if (!('quote_id' in probed)) throw new Error('the worker is free');
    return probed.quote_id;
  }

  /** One script for all workers: what each makes of it is the question. */
  async submit(worker: Target, input: Partial<SubmitInput> = {}): Promise<string> {
    const submitted = { worker: worker.endpoint, train_py: SCRIPT, repeat: true, wait_seconds: 0, ...input };
    return (await submitExperiment(this.services, new RunnerStarter([]), submitted, {})).experiment_id;
  }

  async view(id: string): Promise<ExperimentView> {
    const experiment = await loadExperiment(this.services.db, id);
    if (!experiment) throw new Error(`no experiment ${id}`);
    return viewExperiment(this.services.db, experiment, this.services.clock.nowMs());
  }

  /** Works until an experiment is as it is wanted. */
  async until(id: string, isWanted: (view: ExperimentView) => boolean): Promise<ExperimentView> {
    const deadlineMs = performance.now() + GUARD_MS;
    for (;;) {
      await this.#engine.tick();
      const view = await this.view(id);
      if (isWanted(view)) return view;
      if (performance.now() > deadlineMs) throw new Error(`not reached: ${JSON.stringify(view)}`);
      await sleep(15);
    }
  }

  /** Works until an experiment gives a reason that has a code. */
  untilReason(id: string, code: string): Promise<ExperimentView> {
    return this.until(id, ({ reason_code }) => reason_code === code);
  }

  end(id: string): Promise<ExperimentView> {
    return this.until(id, ({ state }) =>
      ['published', 'refused', 'failed', 'unpaid', 'lost', 'cancelled'].includes(state),
    );
  }

  /** Submits and works to the end. */
  async run(worker: Target, input: Partial<SubmitInput> = {}): Promise<ExperimentView> {
    return this.end(await this.submit(worker, input));
  }

  /** Submits, and lets time pass once the worker has answered in a way that leaves the money open. */
  async runOut(worker: HostileWorker, reasonCode: string, input: Partial<SubmitInput> = {}): Promise<ExperimentView> {
    const id = await this.submit(worker, input);
    await this.untilReason(id, reasonCode);
    expect(await this.ledger(id)).toMatchObject({ released: 0 });
    await this.#lab.passWindow();
    return this.end(id);
  }

  async ledger(id: string): Promise<Ledger> {
    const rows = await this.services.db.selectFrom('ledger').selectAll().where('experiment_id', '=', id).execute();
    const sum = (state: string) => rows.filter((row) => row.state === state).reduce((all, row) => all + row.amount, 0);
    return { held: sum('held'), spent: sum('spent'), released: sum('released') };
  }

  async attempts(id: string) {
    return loadAttempts(this.services.db, ExperimentId.parse(id));
  }

  /** Asks the chain about authorizations that nothing else is busy with. */
  sweep(): Promise<number> {
    return sweepAuthorizations(this.services);
  }

  /** Goes on with a new engine, as a new process does. */
  async restart(): Promise<void> {
    this.haltAt = null;
    await this.#engine.stop();
    await this.services.db.updateTable('experiments').set({ lease_until: 0 }).execute();
    this.#engine = new ExperimentEngine(createPorts(this.services, this.#patience), 'test-restarted');
  }

  /** Proves that a call refuses with an error of ours, before anything is signed. */
  async refuses(call: Promise<unknown>): Promise<CoordinatorError> {
    const error: unknown = await call.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof CoordinatorError)) throw new Error(`it did not refuse as we do: ${String(error)}`);
    expect(this.signed).toEqual([]);
    expect(await this.services.db.selectFrom('ledger').selectAll().execute()).toEqual([]);
    return error;
  }

  /** Proves that exactly one transfer was signed, the journaled one, and that only its header was ever sent. */
  async expectOnePayment(id: string, worker: HostileWorker, valueAtomic: bigint): Promise<void> {
    const [attempt, ...others] = await this.attempts(id);
    expect(others).toEqual([]);
    const intent = attempt?.payment?.intent;
    expect(intent).toMatchObject({ payTo: worker.payTo, valueAtomic });
    expect(this.signed).toEqual([
      {
        types: expect.anything(),
        primaryType: 'TransferWithAuthorization',
        domain: { name: 'USDC', version: '2', chainId: 84532, verifyingContract: this.#lab.network.usdc },
        message: {
          from: this.#lab.network.payer,
          to: worker.payTo,
          value: valueAtomic,
          validAfter: 0n,
          validBefore: BigInt(intent?.validBefore ?? 0),
          nonce: intent?.nonce,
        },
      },
    ]);
    expect(new Set(worker.payments).size).toBe(1);
    expect(worker.nonces).toEqual([intent?.nonce]);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#engine.stop();
    await this.services.close();
    expect(this.unexpected).toEqual([]);
  }
}

function recordWallet(keyFile: string, signed: TransferTypedData[]): Wallet {
  return {
    kind: 'key file',
    open: async () => {
      const key = loadLocalKey(keyFile);
      return {
        address: key.address,
        signTransfer: (data) => {
          signed.push(data);
          return key.signTransfer(data);
        },
        signText: key.signText,
        signFeedback: key.signFeedback,
      };
    },
  };
}
