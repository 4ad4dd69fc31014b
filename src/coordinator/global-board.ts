import type { Worker } from '../discovery/worker.ts';
import { type Claim, type ClaimBoard, rankClaims } from '../leaderboard/claims.ts';
import { loadWorkerScores, type WorkerScores } from '../leaderboard/worker-scores.ts';
import { buildRows, type Table } from './columns.ts';
import type { Services } from './services.ts';
import type { LeaderboardInput, Standing } from './standing.ts';
import { nameWorker } from './worker-view.ts';
import { MAX_WORKERS } from './workers.ts';

interface RankedClaim extends Claim {
  readonly rank: number;
  readonly own: WorkerScores | undefined;
}

/** The first page of the concise form names so many rejected claims; the detailed one as many as a page has rows. */
const FEW_REJECTED = 5;

/** Scores that workers report of themselves, beside what the same workers gave us. Never ranked among our results. */
export async function readGlobalBoard(services: Services, input: LeaderboardInput, offset: number, rest: object) {
  const format = input.response_format ?? 'concise';
  const found = await services.discovery.discover({ limit: MAX_WORKERS, includeUnreachable: true });
  const board = rankClaims(found.workers);
  const page = board.claims.slice(offset, offset + input.limit);
  const scores = await loadWorkerScores(
    services.db,
    page.flatMap(({ worker }) => worker.workerEndpoint ?? []),
  );
  const shownTo = offset + page.length;
  const rejectedRows = format === 'concise' ? FEW_REJECTED : input.limit;
  const around = {
    ...rest,
    total: board.claims.length,
    ...(shownTo < board.claims.length ? { next_cursor: String(shownTo) } : {}),
    ...(offset === 0 ? { rejected: viewRejected(board.rejected.slice(0, rejectedRows)) } : {}),
    next_step: suggestNext(
      board,
      found.sources.every(({ ok }) => !ok),
    ),
  };
  const items = page.map((claim, index): RankedClaim => {
    const own = scores.get(claim.worker.workerEndpoint ?? '');
    return { ...claim, rank: offset + index + 1, own };
  });
  return { ...around, standings: buildRows(items, CLAIM_TABLE, format, around) };
}

const CLAIM_TABLE: Table<RankedClaim, Standing> = {
  base: ({ rank, worker, valBpb }) => ({ rank, ...nameWorker(worker), self_reported_val_bpb: valBpb }),
  columns: [
    ({ own }) =>
      own ? { scored: own.runs, own_median_val_bpb: own.medianValBpb, own_best_val_bpb: own.bestValBpb } : {},
    ({ worker: { selfReportedUpdated } }) => (selfReportedUpdated === null ? {} : { updated: selfReportedUpdated }),
    ({ worker: { identity } }) => ({ identity }),
    ({ worker: { fetchedAt } }) => (fetchedAt === null ? { stale: true } : { fetched_at: fetchedAt }),
    ({ worker: { workerId } }) => ({ worker_id: workerId }),
  ],
};

/** Worker → why its claim cannot be true. */
function viewRejected(workers: readonly Worker[]): Record<string, string> {
  return Object.fromEntries(
    workers.map((worker) => [Object.values(nameWorker(worker))[0] ?? '', worker.selfReportedProblem ?? '']),
  );
}

function suggestNext({ claims, rejected }: ClaimBoard, hasFailed: boolean): string {
  const left = rejected.length === 0 ? '' : ` Claims of ${rejected.length} workers cannot be true: see rejected.`;
  if (claims.length > 0)
    return `Nobody checked these claims: believe a run of your own, submit_experiment with that worker, and see scope "workers".${left}`;
  return hasFailed
    ? 'No source could be asked, so this does not mean that nobody claims a score: check the network and SCAN_API_URL.'
    : `No worker claims a score; scope "variants" ranks your own results.${left}`;
}
