import type { FolderAudit } from './audit.ts';
import { type Kill, Lane, type LaneOptions } from './lane.ts';
import { type ChaosNetwork, startChaosNetwork } from './network.ts';
import { Random } from './random.ts';
import { type Block, buildRandomBlock, buildStarts, buildSweep, type Kind, type Trace } from './scenarios.ts';

export interface ChaosOptions {
  /** The built program, in a folder that no other build touches. */
  readonly cli: string;
  /** At least so many processes die; all that the sweeps ask for do in any case. */
  readonly kills: number;
  readonly seed: number;
  /** Data folders at the same time. */
  readonly lanes: number;
  /** Kinds of which random scenarios are made, in turn. */
  readonly kinds: readonly Kind[];
  /** Kinds of which every durable transition is hit before and after. */
  readonly sweeps: readonly Kind[];
  /** Which of the first writes of a new folder a server dies of. */
  readonly firstWrites: readonly number[];
  /** Ends it early, with what is under way brought to its end. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (report: ChaosReport) => void;
}

export interface ChaosReport {
  /** Deaths by kind, then by role and place. */
  readonly kills: ReadonlyMap<Kind, ReadonlyMap<string, number>>;
  readonly killCount: number;
  readonly folderCount: number;
  readonly experimentCount: number;
  readonly settlementCount: number;
  readonly doubleCount: number;
  readonly lostCount: number;
  readonly overBudgetCount: number;
  readonly violations: readonly string[];
  readonly elapsedSeconds: number;
}

/** After so many the rest would say nothing new. */
const MAX_VIOLATIONS = 20;

/** Kills servers and runners in the midst of paid experiments, and checks against the chain that nothing is lost. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const network = await startChaosNetwork(options.lanes);
  try {
    return await new Chaos(options, network).run();
  } finally {
    await network.close();
  }
}

class Chaos {
  readonly #options: ChaosOptions;
  readonly #network: ChaosNetwork;
  readonly #random: Random;
  readonly #startedMs = performance.now();
  readonly #kills = new Map<Kind, Map<string, number>>();
  readonly #audits: FolderAudit[] = [];
  readonly #violations: string[] = [];
  #killCount = 0;

  constructor(options: ChaosOptions, network: ChaosNetwork) {
    this.#options = options;
    this.#network = network;
    this.#random = new Random(options.seed);
  }

  async run(): Promise<ChaosReport> {
    const balance = await this.#network.readBalance();
    const traces = await this.#traceAll();
    const blocks = this.#generate(traces);
    await Promise.all(
      this.#network.lanes.map(async (_, index) => {
        for (const block of blocks) {
          await this.#runBlock(block, index);
          if (this.#violations.length >= MAX_VIOLATIONS || this.#options.signal?.aborted) return;
        }
      }),
    );
    await this.#checkChain(balance);
    return this.#report();
  }

  /** What undisturbed runs commit. */
  async #traceAll(): Promise<Map<Kind, Trace>> {
    const traces = new Map<Kind, Trace>();
    const kinds = [...new Set([...this.#options.sweeps, ...this.#options.kinds])];
    for (const kind of kinds) {
      const workers = kind === 'mixed' ? (['sync', 'async', 'upfront'] as const) : [WORKER_OF[kind]];
      const lane = await this.#open({ kind, scenarios: [{ workers, crashes: [] }], leaving: [] }, 0, true);
      try {
        await lane.run({ workers, crashes: [] });
        traces.set(kind, { runner: lane.control.readTrace('runner'), server: lane.control.readTrace('server') });
        this.#audits.push(await lane.close());
      } finally {
        await lane.dispose();
      }
    }
    return traces;
  }

  /** Sweeps first, then chance until enough have died. Lanes share the one generator. */
  *#generate(traces: ReadonlyMap<Kind, Trace>): Generator<Block, void> {
    const { sweeps, kinds, firstWrites, kills } = this.#options;
    const traceOf = (kind: Kind): Trace => traces.get(kind) ?? { runner: [], server: [] };
    for (const kind of sweeps) {
      if (kind === 'start') yield* buildStarts(traceOf(kind), this.#random, firstWrites);
      else yield* buildSweep(kind, traceOf(kind), this.#random);
    }
    for (const kind of kinds) yield buildRandomBlock(kind, traceOf(kind), this.#random, 3);
    while (this.#killCount < kills) {
      const kind = this.#random.pick(kinds);
      yield buildRandomBlock(kind, traceOf(kind), this.#random);
    }
  }

  async #runBlock(block: Block, laneIndex: number): Promise<void> {
    const lane = await this.#open(block, laneIndex, false);
    let isRight = false;
    try {
      for (const scenario of block.scenarios) {
        await lane.run(scenario).catch((error: unknown) => {
          throw new Error(`${JSON.stringify(scenario)}: ${error instanceof Error ? error.message : String(error)}`);
        });
      }
      const audit = await lane.close(block.leaving);
      this.#audits.push(audit);
      isRight = audit.violations.length === 0;
      if (!isRight) this.#violate(block, audit.violations.join('; '), lane.folder);
    } catch (error) {
      this.#violate(block, error instanceof Error ? error.message : String(error), lane.folder);
    } finally {
      await lane.dispose(!isRight);
    }
  }

  #violate({ kind }: Block, words: string, folder: string): void {
    this.#violations.push(`${kind}: ${words} (kept in ${folder})`);
  }

  #open({ kind, scenarios }: Block, laneIndex: number, isTracing: boolean): Promise<Lane> {
    const workers = this.#network.lanes[laneIndex];
    if (!workers) throw new RangeError(`no lane ${laneIndex}`);
    const options: LaneOptions = {
      network: this.#network,
      workers,
      cli: this.#options.cli,
      random: this.#random,
      hasRemoteSigner: kind === 'signer',
      experimentCount: scenarios.reduce((sum, scenario) => sum + scenario.workers.length, 0),
      onKill: (kill) => this.#count(kind, kill),
      isTracing,
    };
    return Lane.open(options);
  }

  #count(kind: Kind, { role, place }: Kill): void {
    const places = this.#kills.get(kind) ?? new Map<string, number>();
    this.#kills.set(kind, places);
    const key = `${role} ${place}`;
    places.set(key, (places.get(key) ?? 0) + 1);
    this.#killCount += 1;
    this.#options.onProgress?.(this.#report());
  }

  /** Everything that ever left the payer belongs to exactly one folder, and everything signed was journaled before. */
  async #checkChain(balanceBefore: bigint): Promise<void> {
    const settlements = await this.#network.readSettlements(0n);
    const movedAtomic = settlements.reduce((sum, { value }) => sum + value, 0n);
    const spentAtomic = balanceBefore - (await this.#network.readBalance());
    if (movedAtomic !== spentAtomic) this.#violations.push(`${movedAtomic} moved, the payer has ${spentAtomic} less`);
    // A folder that could not be audited is a violation already.
    if (this.#violations.length > 0) return;
    const known = this.#audits.reduce((sum, audit) => sum + audit.settlements.length, 0);
    if (known !== settlements.length)
      this.#violations.push(`${settlements.length} payments were settled, ${known} are accounted for`);
    const nonces = new Set(this.#audits.flatMap((audit) => audit.nonces));
    const { signedNonces, strayRequests } = this.#network.signer;
    for (const nonce of signedNonces)
      if (!nonces.has(nonce)) this.#violations.push(`${nonce} was signed, but no attempt has it`);
    for (const request of strayRequests) this.#violations.push(`the remote signer was asked for ${request}`);
  }

  #report(): ChaosReport {
    const total = (count: (audit: FolderAudit) => number) => this.#audits.reduce((sum, one) => sum + count(one), 0);
    return {
      kills: this.#kills,
      killCount: this.#killCount,
      folderCount: this.#audits.length,
      experimentCount: total(({ experimentCount }) => experimentCount),
      settlementCount: total(({ settlements }) => settlements.length),
      doubleCount: total(({ doubleCount }) => doubleCount),
      lostCount: total(({ lostCount }) => lostCount),
      overBudgetCount: total(({ isOverBudget }) => Number(isOverBudget)),
      violations: this.#violations,
      elapsedSeconds: (performance.now() - this.#startedMs) / 1_000,
    };
  }
}

const WORKER_OF = { sync: 'sync', async: 'async', upfront: 'upfront', signer: 'sync', start: 'async' } as const;
