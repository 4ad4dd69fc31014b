/**
 * Efficiency of a loop's waves: 64 simulated workers of mixed speeds, of whose runs 10 % fail, driven by the real loop
 * engine, judge and choice of workers over a real store; only the clock and the training are simulated. The makespan is
 * held against lower bounds on what any scheduler could do with as many runs, with and without the order in which runs
 * depend on each other: `npm run bench:loop -- [rounds] [seed]`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../src/base/log.ts';
import { atomicUsdc } from '../src/base/money.ts';
import { createLoop, loadLoop, type QueuedProposal, toQueued, updateLoop } from '../src/campaign/loop.ts';
import { LoopEngine } from '../src/campaign/loop-engine.ts';
import type { Pace } from '../src/campaign/patience.ts';
import { loadStandings } from '../src/campaign/standing.ts';
import { chooseWorker } from '../src/campaign/worker-choice.ts';
import { draftFromOperator } from '../src/discovery/worker.ts';
import { type Experiment, loadExperiments } from '../src/experiment/experiment.ts';
import { createVariant } from '../src/experiment/variant.ts';
import { saveSource } from '../src/provenance/sources.ts';
import { type Db, loadMasterSecret, openDatabase } from '../src/store/database.ts';
import type { RunResult } from '../src/worker/result.ts';
import { Random } from '../test/fault/random.ts';
import { publishRun } from '../test/judged-run.ts';
import { drawIdsFrom } from './science/seeded-ids.ts';

const WORKERS = 64;
const ROUNDS = Number(process.argv[2] ?? 800);
/** Draws ids, faults and scores. */
const SEED = Number(process.argv[3] ?? 7);
const FAULTS = 0.1;
const START_MS = 1_790_000_000_000;
const PRICE = atomicUsdc(50_000);
const SOURCE = 'LEVEL = 0\nprint("val_bpb:", LEVEL)\n';

interface Scene {
  readonly name: string;
  /** One proposal of so many is better than all before, up to this one: after two waves without any a loop ends. */
  readonly gainEvery: number;
  readonly lastGain: number;
  readonly auditShare: number;
}

const SCENES: readonly Scene[] = [
  { name: 'proposals alone', gainEvery: 90, lastGain: ROUNDS - 2 * WORKERS, auditShare: 0 },
  { name: 'with confirmations and audits', gainEvery: 8, lastGain: ROUNDS, auditShare: 0.1 },
];

interface Job {
  readonly run: Experiment;
  readonly endpoint: string;
  readonly startedAtMs: number;
  readonly endsAtMs: number;
}

/** Usual seconds of a run: the fastest worker is twice as fast as the slowest. */
const durations = new Map(
  Array.from({ length: WORKERS }, (_, index) => [`https://worker-${index}.example/w`, 300 + (300 * index) / WORKERS]),
);
const workers = [...durations.keys()].map((endpoint) => draftFromOperator(endpoint, START_MS));

/** A loop over a fleet that costs no time but its own. */
class Simulation {
  readonly #db: Db;
  readonly #scene: Scene;
  readonly #random = new Random(SEED);
  readonly #engine: LoopEngine;
  /** Score of each program by its hash. */
  readonly #scores = new Map<string, number>();
  readonly #jobs: Job[] = [];
  readonly ended: Experiment[] = [];
  #nowMs = START_MS;
  #wavesStartMs = START_MS;

  constructor(db: Db, scene: Scene) {
    this.#db = db;
    this.#scene = scene;
    this.#engine = new LoopEngine(db, { nowMs: () => this.#nowMs }, silentLog);
  }

  /** Runs the loop to its end. @returns seconds from the first proposal to the end of the last one, and of all */
  async run(): Promise<{ proposals: number; all: number }> {
    let proposals = 0;
    const loopId = await this.#start();
    for (;;) {
      await this.#engine.tick();
      await this.#assign(loopId);
      const [next] = this.#jobs.toSorted((a, b) => a.endsAtMs - b.endsAtMs);
      if (!next) break;
      this.#jobs.splice(this.#jobs.indexOf(next), 1);
      this.#nowMs = next.endsAtMs;
      await this.#finish(next);
      if (next.run.role === 'baseline') this.#wavesStartMs = this.#nowMs;
      else this.ended.push(next.run);
      if (next.run.role === 'round') proposals = (this.#nowMs - this.#wavesStartMs) / 1_000;
    }
    const loop = await loadLoop(this.#db, loopId);
    if (loop?.state !== 'finished' || loop.reason)
      throw new Error(`the loop ended as ${loop?.state}: ${loop?.reason?.text}`);
    return { proposals, all: (this.#nowMs - this.#wavesStartMs) / 1_000 };
  }

  async #start(): Promise<string> {
    const baseline = createVariant({ source: SOURCE, base: null, edits: [], config: {} });
    this.#scores.set(baseline.trainHash, 2);
    const queue: QueuedProposal[] = [];
    const money = { budgetAtomic: atomicUsdc(1_000_000_000), maxPriceAtomic: PRICE };
    const { auditShare } = this.#scene;
    const settings = { rounds: ROUNDS, parallel: WORKERS, prefer: null, agent: null, auditShare, ...money };
    const { loopId } = await this.#db.transaction().execute((trx) => createLoop(trx, baseline, settings, this.#nowMs));
    await this.#db.transaction().execute(async (trx) => {
      for (let index = 1; index <= ROUNDS; index += 1) {
        const edits = [{ search: 'LEVEL = 0', replace: `LEVEL = ${index}` }];
        const variant = createVariant({ source: SOURCE, base: SOURCE, edits, config: {} });
        const before = this.#scene.lastGain - index;
        const isGain = before >= 0 && before % this.#scene.gainEvery === 0;
        this.#scores.set(variant.trainHash, isGain ? 2 - index / 4_000 : 2.01 + this.#random.below(1_000) / 10_000);
        await saveSource(trx, variant.trainHash, variant.source, this.#nowMs);
        queue.push(toQueued(variant, null));
      }
    });
    await updateLoop(this.#db, loopId, this.#nowMs, () => ({ queue }));
    return loopId;
  }

  /** Gives what waits to free workers, as the driver of experiments does. */
  async #assign(loopId: string): Promise<void> {
    const busy = new Set(this.#jobs.map(({ run }) => run.experimentId));
    const open = await loadExperiments(this.#db, { loopId, isOpen: true, limit: 1_000 });
    const waiting = open.filter(({ experimentId }) => !busy.has(experimentId)).toReversed();
    if (waiting.length === 0) return;
    const standings = await loadStandings(this.#db, this.#nowMs);
    const queued = (await loadLoop(this.#db, loopId))?.queue.length ?? 0;
    for (const [index, run] of waiting.entries()) {
      const parties = await this.#db
        .selectFrom('experiments')
        .select('worker_endpoint as endpoint')
        .where('variant_hash', '=', run.variantHash)
        .where('val_bpb', 'is not', null)
        .execute();
      const pick = await chooseWorker(run, {
        nowMs: this.#nowMs,
        workers,
        taken: new Set(this.#jobs.map(({ endpoint }) => endpoint)),
        records: new Map(),
        standings,
        durations,
        tiers: new Map(),
        wantedTier: null,
        parties: parties.map(({ endpoint }) => ({ endpoint: endpoint ?? '', payTo: endpoint })),
        preferred: null,
        outlook: { waiting: waiting.length - index + queued, paces: this.#readPaces() },
        fetchPrices: async (endpoints) =>
          new Map(
            endpoints.map((payTo) => [
              payTo,
              { kind: 'priced', priceAtomic: PRICE, chainName: 'base', payTo } as const,
            ]),
          ),
      });
      if (pick.kind !== 'worker') continue;
      const seconds = (durations.get(pick.endpoint) ?? 0) * (0.95 + this.#random.below(100) / 1_000);
      const startedAtMs = this.#nowMs;
      this.#jobs.push({
        run,
        endpoint: pick.endpoint,
        startedAtMs,
        endsAtMs: Math.round(startedAtMs + seconds * 1_000),
      });
    }
  }

  #readPaces(): Map<string, Pace> {
    const startedAt = new Map(this.#jobs.map(({ endpoint, startedAtMs }) => [endpoint, startedAtMs]));
    return new Map(
      [...durations].map(([endpoint, seconds]) => {
        const runMs = seconds * 1_000;
        const startedAtMs = startedAt.get(endpoint);
        const freeAtMs = startedAtMs === undefined ? this.#nowMs : startedAtMs + runMs;
        return [endpoint, { runMs, freeAtMs, priceAtomic: PRICE }];
      }),
    );
  }

  async #finish({ run, endpoint }: Job): Promise<void> {
    const isFault = run.role !== 'baseline' && this.#random.chance(FAULTS);
    const valBpb = isFault ? null : (this.#scores.get(run.trainHash) ?? 2);
    const result: RunResult = {
      status: isFault ? 'failed' : 'completed',
      returnCode: isFault ? 1 : 0,
      valBpb,
      durationSeconds: null,
      metrics: null,
      untrustedNote: null,
      flags: [],
    };
    await publishRun(this.#db, run, endpoint, result, this.#nowMs, null);
  }
}

/** The least seconds in which these workers could do so many runs of their mean durations, whoever schedules them. */
function boundByVolume(runs: number): number {
  let seconds = 0;
  const done = () => [...durations.values()].reduce((sum, duration) => sum + Math.floor(seconds / duration), 0);
  while (done() < runs) seconds += 1;
  return seconds;
}

/**
 * The least seconds for proposals that start in their order, each followed by its confirmations one after the other,
 * were every run of such a chain on the fastest worker.
 */
function boundByOrder(ended: readonly Experiment[]): number {
  const fastest = Math.min(...durations.values());
  const starts = [...durations.values()]
    .flatMap((seconds) => Array.from({ length: ROUNDS }, (_, turn) => turn * seconds))
    .toSorted((a, b) => a - b);
  const chains = ended.flatMap(({ role, round, experimentId }) => {
    if (role !== 'round' || round === null) return [];
    const repeats = ended.filter(({ auditOf }) => auditOf === experimentId);
    const inTurn = repeats.filter((repeat) => repeat.role === 'confirmation').length;
    return [(starts[round - 1] ?? 0) + fastest * (1 + Math.max(inTurn, Math.min(1, repeats.length)))];
  });
  return Math.max(...chains);
}

for (const scene of SCENES) {
  const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));
  const db = await openDatabase(dataDir);
  drawIdsFrom(`${scene.name} ${SEED}`);
  await loadMasterSecret(db, () => '0'.repeat(64));
  try {
    const simulation = new Simulation(db, scene);
    const startedMs = performance.now();
    const { proposals, all } = await simulation.run();
    const ownMs = (performance.now() - startedMs) / simulation.ended.length;
    const [volume, order] = [boundByVolume(simulation.ended.length), boundByOrder(simulation.ended)];
    const above = (seconds: number, bound: number) =>
      `${seconds.toFixed(0)} s, bound ${bound.toFixed(0)} s, ${((seconds / bound - 1) * 100).toFixed(1)} % above`;
    process.stdout.write(
      `${scene.name}: ${WORKERS} workers, ${ROUNDS} proposals, ${simulation.ended.length} runs, ${FAULTS * 100} % faults; ` +
        `last proposal ended after ${above(proposals, volume)}; last confirmation ${above(all, Math.max(volume, order))}; ` +
        `${ownMs.toFixed(1)} ms of our own work a run\n`,
    );
  } finally {
    await db.destroy();
    rmSync(dataDir, { recursive: true, force: true });
  }
}
