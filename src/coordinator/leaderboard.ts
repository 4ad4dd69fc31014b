import { existsSync } from 'node:fs';
import { formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import { findChampion, findSigma } from '../campaign/champion.ts';
import { doesCount, groupBy, loadScoredRuns, type ScoredRun } from '../campaign/evidence.ts';
import { loadLoops } from '../campaign/loop.ts';
import { findLuckLine } from '../campaign/luck.ts';
import { loadTitles } from '../campaign/titles.ts';
import { type Experiment, loadExperiment, loadExperiments } from '../experiment/experiment.ts';
import { loadTask } from '../experiment/lineage-task.ts';
import { type AgentStanding, loadAgentStandings } from '../leaderboard/agents.ts';
import { chartPath } from '../leaderboard/charts.ts';
import { searchExperiments } from '../leaderboard/search.ts';
import { renderSparkline } from '../leaderboard/sparkline.ts';
import {
  loadTrend,
  loadVariantStandings,
  loadWorkerStandings,
  type VariantStanding,
  type WorkerStanding,
} from '../leaderboard/standings.ts';
import { resultsPath } from '../provenance/export.ts';
import { buildRows, type Table } from './columns.ts';
import { parseCursor } from './cursor.ts';
import { readGlobalBoard } from './global-board.ts';
import type { Services } from './services.ts';
import type { LeaderboardInput, Standing } from './standing.ts';

const SPARKLINE_RUNS = 40;
const NOTHING_YET = 'Nothing has a score yet: run a script with submit_experiment or run_loop.';
const NOTHING_FOUND =
  'No experiment holds all of these words: try fewer, or run it with submit_experiment or run_loop.';

/** The ranking of variants or workers, or the claims of workers, with the champion of the script that ran last. */
export async function readLeaderboard(services: Services, wanted: LeaderboardInput) {
  const isSearch = wanted.search !== undefined && wanted.search.trim() !== '';
  const scope = isSearch ? 'experiments' : wanted.scope;
  const input = { ...wanted, scope };
  const offset = parseCursor(input.cursor);
  const champion = await readChampion(services);
  const shared = { scope, ...(champion ? { champion } : {}) };
  if (scope === 'global') return { ...shared, ...(await readGlobalBoard(services, input, offset, shared)) };
  return { ...shared, ...(await readOwnBoard(services, input, offset, shared)) };
}

async function readOwnBoard(services: Services, input: LeaderboardInput, offset: number, shared: object) {
  const { db, folder } = services;
  const format = input.response_format ?? 'concise';
  const [trend, [loop]] = await Promise.all([loadTrend(db, {}, SPARKLINE_RUNS), loadLoops(db, { limit: 1 })]);
  const chart = chartPath(folder, loop?.loopId ?? null);
  const describe = (total: number, shown: number, empty = NOTHING_YET) => ({
    total,
    ...(offset + shown < total ? { next_cursor: String(offset + shown) } : {}),
    sparkline: renderSparkline(trend.map(({ valBpb }) => valBpb)),
    chart_uri: `autoresearch://chart/${loop?.loopId ?? 'all'}.svg`,
    ...(existsSync(chart) ? { chart_path: chart } : {}),
    results_path: resultsPath(folder),
    next_step:
      total === 0 ? empty : 'Build on the champion: submit_experiment with base "champion" and edits, or run_loop.',
  });
  if (input.scope === 'variants') {
    const { rows, total } = await loadVariantStandings(db, input.limit, offset);
    const rest = describe(total, rows.length);
    return { standings: buildRows(rows, VARIANT_TABLE, format, { ...shared, ...rest }), ...rest };
  }
  if (input.scope === 'agents') {
    const { rows, total } = await loadAgentStandings(db, input.limit, offset);
    const rest = describe(total, rows.length);
    return { standings: buildRows(rows, AGENT_TABLE, format, { ...shared, ...rest }), ...rest };
  }
  if (input.scope === 'experiments') {
    const search = { words: input.search ?? '', limit: input.limit, offset };
    const { ids, total } = await searchExperiments(db, search);
    const found = await Promise.all(ids.map((id) => loadExperiment(db, id)));
    const rows = found.flatMap((experiment, index) => (experiment ? [{ experiment, rank: offset + index + 1 }] : []));
    const rest = describe(total, rows.length, search.words.trim() === '' ? NOTHING_YET : NOTHING_FOUND);
    return { standings: buildRows(rows, EXPERIMENT_TABLE, format, { ...shared, ...rest }), ...rest };
  }
  const { rows, total } = await loadWorkerStandings(db, input.limit, offset);
  const rest = describe(total, rows.length);
  return { standings: buildRows(rows, WORKER_STANDING_TABLE, format, { ...shared, ...rest }), ...rest };
}

async function readChampion({ db }: Services) {
  const [latest] = await loadExperiments(db, { limit: 1 });
  if (!latest) return undefined;
  const { rootHash, loopId } = latest;
  const [titles, runs, task] = await Promise.all([
    loadTitles(db, { rootHash }),
    loadScoredRuns(db, { rootHash }),
    loadTask(db, rootHash),
  ]);
  const champion = findChampion(titles, runs, task);
  if (!champion) return undefined;
  const sigma = findSigma(runs, task);
  const own =
    loopId === null
      ? null
      : findChampion(
          titles.filter(({ scope }) => scope === loopId),
          runs,
          task,
        );
  const luck = loopId === null ? null : findLuckLine(runs, own, sigma, loopId);
  return {
    experiment_id: champion.experimentId,
    val_bpb: champion.valBpb,
    runs: champion.runs,
    sigma,
    verified: champion.verified,
    ...(luck === null ? {} : { luck_val_bpb: luck }),
    ...listTierBests(runs),
  };
}

/** The best score of each tier of machines, where there is more than one: they are never compared with each other. */
function listTierBests(runs: readonly ScoredRun[]) {
  const tiers = groupBy(runs.filter(doesCount), ({ tier }) => tier);
  if (tiers.length < 2) return {};
  const bests = tiers.map((own) => [own[0]?.tier ?? '', Math.min(...own.map(({ valBpb }) => valBpb))] as const);
  return { tier_bests: Object.fromEntries(bests) };
}

const VARIANT_TABLE: Table<VariantStanding, Standing> = {
  base: ({ rank, valBpb, runs, verdict, experimentId }) => ({
    rank,
    val_bpb: valBpb,
    runs,
    experiment_id: experimentId,
    ...(verdict === null ? {} : { verdict }),
  }),
  columns: [
    ({ description }) => ({ description }),
    ({ workerEndpoint }) => (workerEndpoint === null ? {} : { worker_endpoint: workerEndpoint }),
    ({ priceAtomic }) => ({ price_usdc: formatUsd(BigInt(priceAtomic)) }),
    ({ createdAtMs }) => ({ created_at: isoTime(createdAtMs) }),
    ({ paymentTx }) => (paymentTx === null ? {} : { payment_tx: paymentTx }),
    ({ trainHash }) => ({ train_hash: trainHash }),
  ],
};

/** Newest first, also those that failed or still run: what an agent asks for before it repeats an idea. */
const EXPERIMENT_TABLE: Table<{ experiment: Experiment; rank: number }, Standing> = {
  base: ({ rank, experiment: { experimentId, description, judgement, state, valBpb } }) => ({
    rank,
    experiment_id: experimentId,
    description,
    ...(judgement === null ? { state } : { verdict: judgement.verdict }),
    ...(valBpb === null ? {} : { val_bpb: valBpb }),
  }),
  columns: [
    ({ experiment: { hypothesis } }) => (hypothesis === null ? {} : { hypothesis }),
    ({ experiment: { agent } }) => (agent === null ? {} : { agent }),
    ({ experiment: { workerEndpoint } }) => (workerEndpoint === null ? {} : { worker_endpoint: workerEndpoint }),
    ({ experiment: { createdAtMs } }) => ({ created_at: isoTime(createdAtMs) }),
    ({ experiment: { trainHash } }) => ({ train_hash: trainHash }),
  ],
};

const AGENT_TABLE: Table<AgentStanding, Standing> = {
  base: ({ rank, agent, runs, scored, kept, bestValBpb }) => ({
    rank,
    agent,
    runs,
    scored,
    kept,
    ...(bestValBpb === null ? {} : { val_bpb: bestValBpb }),
  }),
  columns: [],
};

const WORKER_STANDING_TABLE: Table<WorkerStanding, Standing> = {
  base: ({ rank, workerEndpoint, runs, scored, bestValBpb }) => ({
    rank,
    worker_endpoint: workerEndpoint,
    runs,
    scored,
    ...(bestValBpb === null ? {} : { val_bpb: bestValBpb }),
  }),
  columns: [({ spentAtomic }) => ({ spent_usdc: formatUsd(BigInt(spentAtomic)) })],
};
