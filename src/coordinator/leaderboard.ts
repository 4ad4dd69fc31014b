import { existsSync } from 'node:fs';
import { formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import { loadChampion, loadSigma } from '../campaign/champion.ts';
import { loadLoops } from '../campaign/loop.ts';
import { loadExperiments } from '../experiment/experiment.ts';
import { chartPath } from '../leaderboard/charts.ts';
import { renderSparkline } from '../leaderboard/sparkline.ts';
import { loadTrend, loadVariantStandings, loadWorkerStandings } from '../leaderboard/standings.ts';
import { resultsPath } from '../provenance/export.ts';
import { parseCursor } from './cursor.ts';
import type { Services } from './services.ts';

export interface LeaderboardInput {
  readonly scope: 'variants' | 'workers';
  readonly limit: number;
  readonly cursor?: string | undefined;
}

const SPARKLINE_RUNS = 40;

/** The ranking of variants or workers, with the champion of the script that ran last. */
export async function readLeaderboard(services: Services, input: LeaderboardInput) {
  const { db, folder } = services;
  const offset = parseCursor(input.cursor);
  const [champion, trend, [loop]] = await Promise.all([
    findChampion(services),
    loadTrend(db, {}, SPARKLINE_RUNS),
    loadLoops(db, { limit: 1 }),
  ]);
  const standings =
    input.scope === 'variants'
      ? await listVariants(services, input.limit, offset)
      : await listWorkers(services, input.limit, offset);
  const shownTo = offset + standings.rows.length;
  const chart = chartPath(folder, loop?.loopId ?? null);
  return {
    scope: input.scope,
    standings: standings.rows,
    total: standings.total,
    ...(shownTo < standings.total ? { next_cursor: String(shownTo) } : {}),
    ...(champion ? { champion } : {}),
    sparkline: renderSparkline(trend.map(({ valBpb }) => valBpb)),
    chart_uri: `autoresearch://chart/${loop?.loopId ?? 'all'}.svg`,
    ...(existsSync(chart) ? { chart_path: chart } : {}),
    results_path: resultsPath(folder),
    next_step:
      standings.total === 0
        ? 'Nothing has a score yet: run a script with submit_experiment or run_loop.'
        : 'Build on the champion: submit_experiment with base "champion" and edits, or run_loop.',
  };
}

async function findChampion({ db }: Services) {
  const [latest] = await loadExperiments(db, { limit: 1 });
  const champion = latest && (await loadChampion(db, latest.rootHash, null));
  if (!latest || !champion) return undefined;
  return {
    experiment_id: champion.experimentId,
    val_bpb: champion.valBpb,
    runs: champion.runs,
    sigma: await loadSigma(db, latest.rootHash),
    verified: false,
  };
}

async function listVariants({ db }: Services, limit: number, offset: number) {
  const { rows, total } = await loadVariantStandings(db, limit, offset);
  return {
    total,
    rows: rows.map((row) => ({
      rank: row.rank,
      experiment_id: row.experimentId,
      val_bpb: row.valBpb,
      description: row.description,
      price_usdc: formatUsd(BigInt(row.priceAtomic)),
      train_hash: row.trainHash,
      created_at: isoTime(row.createdAtMs),
      ...(row.verdict === null ? {} : { verdict: row.verdict }),
      ...(row.workerEndpoint === null ? {} : { worker_endpoint: row.workerEndpoint }),
      ...(row.paymentTx === null ? {} : { payment_tx: row.paymentTx }),
    })),
  };
}

async function listWorkers({ db }: Services, limit: number, offset: number) {
  const { rows, total } = await loadWorkerStandings(db, limit, offset);
  return {
    total,
    rows: rows.map((row) => ({
      rank: row.rank,
      worker_endpoint: row.workerEndpoint,
      runs: row.runs,
      scored: row.scored,
      spent_usdc: formatUsd(BigInt(row.spentAtomic)),
      ...(row.bestValBpb === null ? {} : { val_bpb: row.bestValBpb }),
    })),
  };
}
