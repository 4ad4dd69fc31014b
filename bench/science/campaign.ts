import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { silentLog } from '../../src/base/log.ts';
import { atomicUsdc } from '../../src/base/money.ts';
import { loadChampion } from '../../src/campaign/champion.ts';
import { findPlace } from '../../src/campaign/choice-place.ts';
import { loadScoredRuns } from '../../src/campaign/evidence.ts';
import { onMainTier } from '../../src/campaign/family.ts';
import { createLoop } from '../../src/campaign/loop.ts';
import { LoopEngine, loadProgress } from '../../src/campaign/loop-engine.ts';
import { loadOwnRecords } from '../../src/campaign/own-record.ts';
import { loadStandings } from '../../src/campaign/standing.ts';
import { loadTitles } from '../../src/campaign/titles.ts';
import { chooseWorker } from '../../src/campaign/worker-choice.ts';
import type { WorkerPick } from '../../src/experiment/drive.ts';
import { type Experiment, loadExperiments } from '../../src/experiment/experiment.ts';
import { createVariant } from '../../src/experiment/variant.ts';
import { loadSource } from '../../src/provenance/sources.ts';
import { type Db, loadMasterSecret, openDatabase } from '../../src/store/database.ts';
import { publishRun } from '../../test/judged-run.ts';
import { Agent, loadChampionSource } from './agent.ts';
import { Chance } from './chance.ts';
import type { Field } from './field.ts';
import type { Market, Seller } from './market.ts';
import type { Outcome, Promotion } from './outcome.ts';
import { gainOf, promote } from './plain.ts';
import { drawIdsFrom } from './seeded-ids.ts';

export const START_MS = 1_790_000_000_000;
const MAX_PRICE = atomicUsdc(100_000);
/** A mean that lies farther from the truth, in deviations of one run, is no luck. */
const MOST_LUCK = 3;

export interface CampaignRules {
  readonly seed: string;
  /** Runs after which nothing new is proposed; what is being repeated then still ends. */
  readonly spend: number;
  /** Runs at once. */
  readonly parallel: number;
  readonly auditShare: number;
}

/** What the market's workers came to in a campaign. */
export interface Trial {
  readonly seller: Seller;
  readonly runs: number;
  readonly lies: number;
  /** Its runs before it was quarantined for the first time; null: it never was. */
  readonly runsBeforeQuarantine: number | null;
}

export interface CampaignOutcome extends Outcome {
  readonly trials: readonly Trial[];
  /** Runs by their role. */
  readonly roles: ReadonlyMap<string, number>;
}

interface Job {
  readonly run: Experiment;
  readonly seller: Seller;
  readonly endsAtMs: number;
}

/** One loop of the real engine, judge, audits and choice of workers on a market of simulated ones. */
export class Campaign {
  readonly #db: Db;
  readonly #field: Field;
  readonly #market: Market;
  readonly #rules: CampaignRules;
  readonly #engine: LoopEngine;
  readonly #chance: Chance;
  readonly #lies = new Set<string>();
  readonly #runs = new Map<string, number>();
  readonly #lied = new Map<string, number>();
  readonly #quarantined = new Map<string, number>();
  readonly #promotions: Promotion[] = [];
  #nowMs = START_MS;
  #loopId = '';
  #rootHash = '';
  #seenTitles = 0;
  #jobs: Job[] = [];

  private constructor(db: Db, field: Field, market: Market, rules: CampaignRules) {
    this.#db = db;
    this.#field = field;
    this.#market = market;
    this.#rules = rules;
    this.#chance = new Chance(`time ${rules.seed}`);
    const agent = new Agent(db, field.job.source);
    this.#engine = new LoopEngine(db, { nowMs: () => this.#nowMs }, silentLog, (loop, { runs }, room, nowMs) =>
      agent.design(loop, Math.min(room, rules.spend - runs.length), nowMs),
    );
  }

  /** Runs a campaign from its baseline to its end in a store of its own. */
  static async run(field: Field, market: Market, rules: CampaignRules): Promise<CampaignOutcome> {
    drawIdsFrom(rules.seed);
    const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-science-'));
    const db = await openDatabase(dataDir);
    try {
      // Nothing here outlives the process: what a power cut leaves of it does not matter.
      await sql`pragma synchronous = off`.execute(db);
      await sql`pragma journal_mode = memory`.execute(db);
      return await new Campaign(db, field, market, rules).#play();
    } finally {
      await db.destroy();
      rmSync(dataDir, { recursive: true, force: true });
    }
  }

  async #play(): Promise<CampaignOutcome> {
    await this.#start();
    for (;;) {
      await this.#advance();
      await this.#assign();
      const [next] = this.#jobs.toSorted((a, b) => a.endsAtMs - b.endsAtMs);
      if (!next) break;
      this.#jobs = this.#jobs.filter((job) => job !== next);
      this.#nowMs = next.endsAtMs;
      await this.#finish(next);
    }
    const { runs } = await loadProgress(this.#db, this.#loopId);
    const roles = new Map<string, number>();
    for (const { role, state } of runs) if (state !== 'refused') roles.set(role, (roles.get(role) ?? 0) + 1);
    return {
      promotions: this.#promotions,
      gain: gainOf(this.#field, await loadChampionSource(this.#db, this.#loopId, this.#field.job.source)),
      runs: [...roles.values()].reduce((sum, count) => sum + count, 0),
      roles,
      trials: this.#market.sellers.map((seller) => ({
        seller,
        runs: this.#runs.get(seller.endpoint) ?? 0,
        lies: this.#lied.get(seller.endpoint) ?? 0,
        runsBeforeQuarantine: this.#quarantined.get(seller.endpoint) ?? null,
      })),
    };
  }

  /** Moves the loop on until it waits for an answer: one tick starts extra runs, or rounds, or asks for ideas. */
  async #advance(): Promise<void> {
    for (let before = ''; ; ) {
      await this.#engine.tick();
      const now = await this.#db
        .selectFrom('loops')
        .select(['queue', 'state', (eb) => eb.selectFrom('experiments').select(eb.fn.countAll().as('n')).as('runs')])
        .where('loop_id', '=', this.#loopId)
        .executeTakeFirstOrThrow();
      const after = `${now.state} ${now.runs} ${now.queue.length}`;
      if (after === before) return;
      before = after;
    }
  }

  async #start(): Promise<void> {
    const { spend, parallel, auditShare } = this.#rules;
    await loadMasterSecret(this.#db, () => this.#rules.seed.padEnd(64, '0'));
    const baseline = createVariant({ source: this.#field.job.source, base: null, edits: [], config: {} });
    const settings = {
      rounds: spend,
      parallel,
      auditShare,
      mode: 'auto' as const,
      prefer: null,
      agent: null,
      budgetAtomic: atomicUsdc(1_000_000_000),
      maxPriceAtomic: MAX_PRICE,
    };
    const loop = await this.#db.transaction().execute((trx) => createLoop(trx, baseline, settings, this.#nowMs));
    this.#loopId = loop.loopId;
    this.#rootHash = loop.rootHash;
  }

  /** Gives what waits to free workers, as the driver of experiments does. */
  async #assign(): Promise<void> {
    const busy = new Set(this.#jobs.map(({ run }) => run.experimentId));
    const open = await loadExperiments(this.#db, { loopId: this.#loopId, isOpen: true, limit: 1_000 });
    for (const run of open.toReversed()) {
      if (busy.has(run.experimentId)) continue;
      const pick = await this.#pick(run);
      if (pick.kind === 'none') await this.#refuse(run, pick);
      const seller = this.#market.sellers.find(({ endpoint }) => pick.kind === 'worker' && endpoint === pick.endpoint);
      if (!seller) continue;
      const seconds = this.#field.job.seconds * (1 + 0.1 * this.#chance.uniform(run.experimentId));
      this.#jobs.push({ run, seller, endsAtMs: Math.round(this.#nowMs + seconds * 1_000) });
    }
  }

  async #pick(run: Experiment): Promise<WorkerPick> {
    const taken = new Set(this.#jobs.map(({ seller }) => seller.endpoint));
    if (run.workerRequest !== 'auto') {
      if (taken.has(run.workerRequest)) return { kind: 'wait' };
      return { kind: 'worker', endpoint: run.workerRequest, workerId: null, choice: 'named' };
    }
    const { sellers } = this.#market;
    const [runs, champion, records, standings] = await Promise.all([
      loadScoredRuns(this.#db, { rootHash: this.#rootHash }),
      loadChampion(this.#db, this.#rootHash, this.#loopId),
      loadOwnRecords(this.#db),
      loadStandings(this.#db, this.#nowMs),
    ]);
    this.#noteQuarantines(standings);
    const payees = new Map(sellers.map(({ endpoint, payTo }) => [endpoint, payTo]));
    const place = findPlace(run, { runs, champion, owners: payees, prefer: null });
    const prices = sellers.map(
      ({ endpoint, payTo, priceAtomic }) =>
        [endpoint, { kind: 'priced', priceAtomic: atomicUsdc(priceAtomic), chainName: 'base', payTo }] as const,
    );
    return chooseWorker(run, {
      nowMs: this.#nowMs,
      workers: sellers.map(({ worker }) => worker),
      taken,
      records,
      standings,
      durations: new Map(sellers.map(({ endpoint }) => [endpoint, this.#field.job.seconds])),
      ...place,
      fetchPrices: async () => new Map(prices),
    });
  }

  #noteQuarantines(standings: ReadonlyMap<string, { readonly state: string }>): void {
    for (const [endpoint, { state }] of standings) {
      if (state === 'quarantined' && !this.#quarantined.has(endpoint))
        this.#quarantined.set(endpoint, this.#runs.get(endpoint) ?? 0);
    }
  }

  async #refuse(run: Experiment, { reason }: Extract<WorkerPick, { kind: 'none' }>): Promise<void> {
    await this.#db
      .updateTable('experiments')
      .set({ state: 'refused', reason: JSON.stringify(reason), finished_at: this.#nowMs, updated_at: this.#nowMs })
      .where('experiment_id', '=', run.experimentId)
      .execute();
  }

  async #finish({ run, seller }: Job): Promise<void> {
    const { experimentId } = run;
    const { endpoint } = seller;
    const source = (await loadSource(this.#db, run.trainHash)) ?? '';
    const { result, isLie } = this.#market.answer(seller, source, experimentId);
    this.#note(experimentId, seller, isLie);
    await publishRun(this.#db, run, endpoint, result, this.#nowMs, this.#field.job.seconds);
    await this.#noteTitles();
  }

  #note(experimentId: string, { endpoint }: Seller, isLie: boolean): void {
    this.#runs.set(endpoint, (this.#runs.get(endpoint) ?? 0) + 1);
    if (!isLie) return;
    this.#lies.add(experimentId);
    this.#lied.set(endpoint, (this.#lied.get(endpoint) ?? 0) + 1);
  }

  /** Holds every new champion that counts as verified against the truth. */
  async #noteTitles(): Promise<void> {
    const titles = await loadTitles(this.#db, { scope: this.#loopId });
    for (const title of titles.slice(this.#seenTitles)) {
      const isGain = title.verified && (title.cause === 'confirmed' || title.cause === 'verified');
      const before = titles.findLast(({ seq, variantHash }) => seq < title.seq && variantHash !== title.variantHash);
      if (!isGain || !before) continue;
      const [source, beforeSource] = [await this.#loadSourceOf(title), await this.#loadSourceOf(before)];
      const promotion = promote(this.#field, source, beforeSource);
      this.#promotions.push({ ...promotion, isLie: await this.#isLie(source, promotion.isFalse) });
    }
    this.#seenTitles = titles.length;
  }

  async #loadSourceOf({ experimentId }: { readonly experimentId: string }): Promise<string> {
    const { train_hash } = await this.#db
      .selectFrom('experiments')
      .select('train_hash')
      .where('experiment_id', '=', experimentId)
      .executeTakeFirstOrThrow();
    return (await loadSource(this.#db, train_hash)) ?? '';
  }

  /** Whether a champion rests on a lie: it is no better than the one before, or not as good as is said of it. */
  async #isLie(source: string, isFalse: boolean): Promise<boolean> {
    const champion = await loadChampion(this.#db, this.#rootHash, this.#loopId);
    if (!champion?.evidence.some(({ experimentId }) => this.#lies.has(experimentId))) return false;
    const { tier } = onMainTier(champion.evidence)[0] ?? {};
    const offset = this.#market.sellers.find(({ tier: { name } }) => tier?.startsWith(name))?.tier.offset ?? 0;
    const { effect, seedNoise } = this.#field.job;
    const truth = (this.#field.truthOf(source) ?? Number.POSITIVE_INFINITY) + offset * effect;
    return isFalse || Math.abs(champion.valBpb - truth) > MOST_LUCK * seedNoise;
  }
}
