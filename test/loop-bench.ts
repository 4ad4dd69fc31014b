// What tests of loops share: a loop over a store of its own, whose market the test plays.
import { expect } from 'vitest';
import { canonicalJson, sha256 } from '../src/base/hash.ts';
import { silentLog } from '../src/base/log.ts';
import { atomicUsdc } from '../src/base/money.ts';
import { loadChampion } from '../src/campaign/champion.ts';
import { createLoop, type LoopSettingsInput, loadLoop, toQueued, updateLoop } from '../src/campaign/loop.ts';
import { LoopEngine } from '../src/campaign/loop-engine.ts';
import { type Experiment, loadExperiments, NO_CONSENT } from '../src/experiment/experiment.ts';
import { draftExperiment } from '../src/experiment/journal.ts';
import { createVariant, type Variant } from '../src/experiment/variant.ts';
import type { SharedCaps } from '../src/payment/budget.ts';
import { saveSource } from '../src/provenance/sources.ts';
import type { Db } from '../src/store/database.ts';
import type { RunResult } from '../src/worker/result.ts';
import { completeRun, publishRun } from './judged-run.ts';
import { openStore } from './store-seed.ts';

export const START = 1_790_000_000_000;
export const ALPHA = 'https://alpha.example/w';
export const BRAVO = 'https://bravo.example/w';
export const CHARLIE = 'https://charlie.example/w';

/** A loop of the real engine and judge, in which the test is the market: it says who runs what and what comes out. */
export class LoopBench {
  readonly db: Db;
  readonly engine: LoopEngine;
  nowMs = START;
  loopId = '';
  rootHash = '';
  readonly #source: string;

  private constructor(db: Db, source: string, caps: SharedCaps | null) {
    this.db = db;
    this.#source = source;
    this.engine = new LoopEngine(db, { nowMs: () => this.nowMs }, silentLog, null, caps);
  }

  static async open(
    settings: Partial<LoopSettingsInput> = {},
    source = 'LEVEL = 0\nprint("val_bpb:", LEVEL)\n',
    caps: SharedCaps | null = null,
  ) {
    const bench = new LoopBench(await openStore(), source, caps);
    const baseline = createVariant({ source, base: null, edits: [], config: {} });
    const loop = await bench.db.transaction().execute((trx) =>
      createLoop(
        trx,
        baseline,
        {
          rounds: 10,
          budgetAtomic: atomicUsdc(1_000_000),
          maxPriceAtomic: atomicUsdc(250_000),
          parallel: 4,
          prefer: null,
          agent: null,
          auditShare: 0,
          ...settings,
        },
        bench.nowMs,
      ),
    );
    bench.loopId = loop.loopId;
    bench.rootHash = loop.rootHash;
    return bench;
  }

  async tick(): Promise<void> {
    this.nowMs += 1_000;
    await this.engine.tick();
  }

  /** Queues the script with other levels. */
  async propose(...levels: readonly number[]): Promise<void> {
    const variants = levels.map((level) => {
      const edits = [{ search: 'LEVEL = 0', replace: `LEVEL = ${level}` }];
      return createVariant({ source: this.#source, base: this.#source, edits, config: {} });
    });
    await this.queue(...variants);
  }

  async queue(...variants: readonly Variant[]): Promise<void> {
    await this.db.transaction().execute(async (trx) => {
      for (const { trainHash, source } of variants) await saveSource(trx, trainHash, source, this.nowMs);
    });
    const proposals = variants.map((variant) => toQueued(variant, null));
    await updateLoop(this.db, this.loopId, this.nowMs, (now) => ({
      state: 'running',
      queue: [...now.queue, ...proposals],
    }));
    await this.tick();
  }

  async listOpen(role?: string): Promise<Experiment[]> {
    const runs = await loadExperiments(this.db, { loopId: this.loopId, isOpen: true, limit: 100 });
    return runs.filter((run) => role === undefined || run.role === role);
  }

  /** The only open run, which must be of this role. */
  async take(role: string): Promise<Experiment> {
    const open = await this.listOpen();
    expect(open.map((run) => run.role)).toEqual([role]);
    const [run] = open;
    if (!run) throw new Error('nothing is open');
    return run;
  }

  /** A worker answers, the run is judged and published. */
  async answer(run: Experiment, endpoint: string, valBpb: number, metrics: RunResult['metrics'] = null) {
    this.nowMs += 1_000;
    const judgement = await publishRun(this.db, run, endpoint, completeRun(valBpb, metrics), this.nowMs);
    await this.tick();
    return judgement;
  }

  /** Somebody asks another worker for the very same program, and what that says comes in. */
  async repeat(of: Experiment, endpoint: string, valBpb: number): Promise<void> {
    const { loopId, nowMs } = this;
    const { experiment } = await draftExperiment(
      this.db,
      {
        variant: { ...of, parentHash: null, source: 'unused' },
        subject: sha256(canonicalJson([endpoint])),
        workerRequest: endpoint,
        quoteId: null,
        maxPriceAtomic: of.maxPriceAtomic,
        consent: NO_CONSENT,
        idempotencyKey: `again-${endpoint}`,
        hypothesis: null,
        agent: null,
        loop: { loopId, role: 'audit', round: null, auditOf: of.experimentId },
      },
      nowMs,
    );
    await this.answer(experiment, endpoint, valBpb);
  }

  async refuse(run: Experiment, code: string): Promise<void> {
    await this.db
      .updateTable('experiments')
      .set({ state: 'refused', reason: JSON.stringify({ code, text: code }), finished_at: this.nowMs })
      .where('experiment_id', '=', run.experimentId)
      .execute();
    await this.tick();
  }

  /** Runs the baseline, then a proposal. */
  async begin(endpoint: string, baseline: number): Promise<void> {
    await this.tick();
    await this.answer(await this.take('baseline'), endpoint, baseline);
  }

  champion() {
    return loadChampion(this.db, this.rootHash, this.loopId);
  }

  state = async () => (await loadLoop(this.db, this.loopId))?.state;
}
