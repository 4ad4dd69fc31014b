/**
 * Efficiency of a loop's waves: 64 simulated workers of mixed speeds, of whose runs 10 % fail, driven by the real loop
 * engine, judge and choice of workers over a real store; only the clock and the training are simulated. The makespan is
 * held against a lower bound on what any scheduler could do with as many runs: `npm run bench:loop`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../src/base/log.ts';
import { atomicUsdc } from '../src/base/money.ts';
import { createLoop, loadLoop, type QueuedProposal, updateLoop } from '../src/campaign/loop.ts';
import { LoopEngine } from '../src/campaign/loop-engine.ts';
import { ruleOn } from '../src/campaign/ruling.ts';
import { loadStandings } from '../src/campaign/standing.ts';
import { chooseWorker } from '../src/campaign/worker-choice.ts';
import { draftFromOperator } from '../src/discovery/worker.ts';
import { type Experiment, loadExperiments } from '../src/experiment/experiment.ts';
import { createVariant } from '../src/experiment/variant.ts';
import { saveSource } from '../src/provenance/sources.ts';
import { openDatabase } from '../src/store/database.ts';
import type { RunResult } from '../src/worker/result.ts';
import { Random } from '../test/fault/random.ts';

const WORKERS = 64;
const ROUNDS = Number(process.argv[2] ?? 800);
const FAULTS = 0.1;
const START_MS = 1_790_000_000_000;
const PRICE = atomicUsdc(50_000);

interface Job {
  readonly run: Experiment;
  readonly endpoint: string;
  readonly endsAtMs: number;
}

const random = new Random(7);
const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));
const db = await openDatabase(dataDir);
/** Seconds of a run: the fastest worker is twice as fast as the slowest. */
const durations = new Map(
  Array.from({ length: WORKERS }, (_, index) => [`https://worker-${index}.example/w`, 300 + (300 * index) / WORKERS]),
);
const workers = [...durations.keys()].map((endpoint) => draftFromOperator(endpoint, START_MS));
const source = 'LEVEL = 0\nprint("val_bpb:", LEVEL)\n';
/** Score of each program by its hash: one of eight is better than all before. */
const scores = new Map<string, number>();
let nowMs = START_MS;
const engine = new LoopEngine(db, { nowMs: () => nowMs }, silentLog);

async function start(): Promise<string> {
  const baseline = createVariant({ source, base: null, edits: [], config: {} });
  scores.set(baseline.trainHash, 2);
  const queue: QueuedProposal[] = [];
  const money = { budgetAtomic: atomicUsdc(1_000_000_000), maxPriceAtomic: PRICE };
  const settings = { rounds: ROUNDS, parallel: WORKERS, prefer: null, agent: null, ...money };
  const { loopId } = await db.transaction().execute((trx) => createLoop(trx, baseline, settings, nowMs));
  await db.transaction().execute(async (trx) => {
    for (let index = 1; index <= ROUNDS; index += 1) {
      const edits = [{ search: 'LEVEL = 0', replace: `LEVEL = ${index}` }];
      const variant = createVariant({ source, base: source, edits, config: {} });
      scores.set(variant.trainHash, index % 8 === 0 ? 2 - index / 4_000 : 2.01 + random.below(1_000) / 10_000);
      await saveSource(trx, variant.trainHash, variant.source, nowMs);
      const { trainHash, parentHash, config, description } = variant;
      queue.push({ trainHash, parentHash, config, description, hypothesis: null });
    }
  });
  await updateLoop(db, loopId, nowMs, () => ({ queue }));
  return loopId;
}

/** Gives what waits to free workers, as the driver of experiments does. */
async function assign(loopId: string, jobs: Job[]): Promise<void> {
  const busy = new Set(jobs.map(({ run }) => run.experimentId));
  const open = await loadExperiments(db, { loopId, isOpen: true, limit: 1_000 });
  const waiting = open.filter(({ experimentId }) => !busy.has(experimentId)).toReversed();
  if (waiting.length === 0) return;
  const standings = await loadStandings(db, nowMs);
  for (const run of waiting) {
    const parties = await db
      .selectFrom('experiments')
      .select('worker_endpoint as endpoint')
      .where('variant_hash', '=', run.variantHash)
      .where('val_bpb', 'is not', null)
      .execute();
    const pick = await chooseWorker(run, {
      nowMs,
      workers,
      taken: new Set(jobs.map(({ endpoint }) => endpoint)),
      records: new Map(),
      standings,
      durations,
      tiers: new Map(),
      wantedTier: null,
      parties: parties.map(({ endpoint }) => ({ endpoint: endpoint ?? '', payTo: endpoint })),
      preferred: null,
      fetchPrices: async (endpoints) =>
        new Map(
          endpoints.map((payTo) => [payTo, { kind: 'priced', priceAtomic: PRICE, chainName: 'base', payTo } as const]),
        ),
    });
    if (pick.kind !== 'worker') continue;
    const seconds = (durations.get(pick.endpoint) ?? 0) * (0.95 + random.below(100) / 1_000);
    jobs.push({ run, endpoint: pick.endpoint, endsAtMs: Math.round(nowMs + seconds * 1_000) });
  }
}

async function finish({ run, endpoint }: Job): Promise<void> {
  const isFault = run.role !== 'baseline' && random.chance(FAULTS);
  const valBpb = isFault ? null : (scores.get(run.trainHash) ?? 2);
  const result: RunResult = {
    status: isFault ? 'failed' : 'completed',
    returnCode: isFault ? 1 : 0,
    valBpb,
    durationSeconds: null,
    metrics: null,
    untrustedNote: null,
    flags: [],
  };
  const { judgement, enact } = await ruleOn(db, { ...run, workerEndpoint: endpoint }, result, null, nowMs);
  await db.transaction().execute(async (trx) => {
    await trx
      .updateTable('experiments')
      .set({
        state: isFault ? 'failed' : 'published',
        worker_endpoint: endpoint,
        val_bpb: valBpb,
        verdict: judgement.verdict,
        judgement: JSON.stringify(judgement),
        finished_at: nowMs,
        updated_at: nowMs,
      })
      .where('experiment_id', '=', run.experimentId)
      .execute();
    await enact(trx);
  });
}

/** The least time in which these workers could do so many runs of their mean durations, whoever schedules them. */
function findBound(runs: number): number {
  let seconds = 0;
  const done = () => [...durations.values()].reduce((sum, duration) => sum + Math.floor(seconds / duration), 0);
  while (done() < runs) seconds += 1;
  return seconds;
}

const loopId = await start();
const startedMs = performance.now();
const jobs: Job[] = [];
let wavesStartMs = nowMs;
let ended = 0;
for (;;) {
  await engine.tick();
  await assign(loopId, jobs);
  const [next] = jobs.toSorted((a, b) => a.endsAtMs - b.endsAtMs);
  if (!next) break;
  jobs.splice(jobs.indexOf(next), 1);
  nowMs = next.endsAtMs;
  await finish(next);
  if (next.run.role === 'baseline') wavesStartMs = nowMs;
  else ended += 1;
}
await engine.tick();
const loop = await loadLoop(db, loopId);
const seconds = (nowMs - wavesStartMs) / 1_000;
const bound = findBound(ended);
process.stdout.write(
  `${WORKERS} workers, ${ROUNDS} rounds, ${ended} runs, ${FAULTS * 100} % faults: ${loop?.state}${loop?.reason ? ` (${loop.reason.code})` : ''}; makespan ${seconds.toFixed(0)} s, bound ${bound} s, ${((seconds / bound - 1) * 100).toFixed(1)} % above; ${((performance.now() - startedMs) / ended).toFixed(1)} ms of our own work a run\n`,
);
await db.destroy();
rmSync(dataDir, { recursive: true, force: true });
