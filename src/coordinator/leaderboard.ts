import { existsSync } from 'node:fs';
import { formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import { loadChampion, loadSigma } from '../campaign/champion.ts';
import { doesCount, groupBy, loadScoredRuns } from '../campaign/evidence.ts';
import { loadLoops } from '../campaign/loop.ts';
import { loadLuckLine } from '../campaign/luck.ts';
import { loadExperiments } from '../experiment/experiment.ts';
import { chartPath } from '../leaderboard/charts.ts';
import { renderSparkline } from '../leaderboard/sparkline.ts';
import {
  loadTrend,
  loadVariantStandings,
  loadWorkerStandings,
  type VariantStanding,
  type WorkerStanding,
} from '../leaderboard/standings.ts';
import { resultsPath } from '../provenance/export.ts';
import type { Db } from '../store/database.ts';
import { buildRows, type Table } from './columns.ts';
import { parseCursor } from './cursor.ts';
import { readGlobalBoard } from './global-board.ts';
import type { Services } from './services.ts';
import type { LeaderboardInput, Standing } from './standing.ts';

const SPARKLINE_RUNS = 40;

/** The ranking of variants or workers, or the claims of workers, with the champion of the script that ran last. */
export async function readLeaderboard(services: Services, input: LeaderboardInput) {
  const { scope } = input;
  const offset = parseCursor(input.cursor);
  const champion = await findChampion(services);
  const shared = { scope, ...(champion ? { champion } : {}) };
  if (scope === 'global') return { ...shared, ...(await readGlobalBoard(services, input, offset, shared)) };
  return { ...shared, ...(await readOwnBoard(services, input, offset, shared)) };
}

async function readOwnBoard(services: Services, input: LeaderboardInput, offset: number, shared: object) {
  const { db, folder } = services;
  const format = input.response_format ?? 'concise';
  const [trend, [loop]] = await Promise.all([loadTrend(db, {}, SPARKLINE_RUNS), loadLoops(db, { limit: 1 })]);
  const chart = chartPath(folder, loop?.loopId ?? null);
  const describe = (total: number, shown: number) => ({
    total,
    ...(offset + shown < total ? { next_cursor: String(offset + shown) } : {}),
    sparkline: renderSparkline(trend.map(({ valBpb }) => valBpb)),
    chart_uri: `autoresearch://chart/${loop?.loopId ?? 'all'}.svg`,
    ...(existsSync(chart) ? { chart_path: chart } : {}),
    results_path: resultsPath(folder),
    next_step:
      total === 0
        ? 'Nothing has a score yet: run a script with submit_experiment or run_loop.'
        : 'Build on the champion: submit_experiment with base "champion" and edits, or run_loop.',
  });
  if (input.scope === 'variants') {
    const { rows, total } = await loadVariantStandings(db, input.limit, offset);
    const rest = describe(total, rows.length);
    return { standings: buildRows(rows, VARIANT_TABLE, format, { ...shared, ...rest }), ...rest };
  }
  const { rows, total } = await loadWorkerStandings(db, input.limit, offset);
  const rest = describe(total, rows.length);
  return { standings: buildRows(rows, WORKER_STANDING_TABLE, format, { ...shared, ...rest }), ...rest };
}

async function findChampion({ db }: Services) {
  const [latest] = await loadExperiments(db, { limit: 1 });
  const champion = latest && (await loadChampion(db, latest.rootHash, null));
  if (!latest || !champion) return undefined;
  const luck = latest.loopId === null ? null : await loadLuckLine(db, latest.loopId);
  return {
    experiment_id: champion.experimentId,
    val_bpb: champion.valBpb,
    runs: champion.runs,
    sigma: await loadSigma(db, latest.rootHash),
    verified: champion.verified,
    ...(luck === null ? {} : { luck_val_bpb: luck }),
    ...(await loadTierBests(db, latest.rootHash)),
  };
}

/** The best score of each tier of machines, where there is more than one: they are never compared with each other. */
async function loadTierBests(db: Db, rootHash: string) {
  const tiers = groupBy((await loadScoredRuns(db, { rootHash })).filter(doesCount), ({ tier }) => tier);
  if (tiers.length < 2) return {};
  const bests = tiers.map((runs) => [runs[0]?.tier ?? '', Math.min(...runs.map(({ valBpb }) => valBpb))] as const);
  return { tier_bests: Object.fromEntries(bests) };
}

const VARIANT_TABLE: Table<VariantStanding, Standing> = {
  base: ({ rank, valBpb, verdict, experimentId }) => ({
    rank,
    val_bpb: valBpb,
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
