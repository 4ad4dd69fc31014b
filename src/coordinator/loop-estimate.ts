import { type AtomicUsdc, atomicUsdc, formatUsd, parseUsd } from '../base/money.ts';
import { median } from '../campaign/evidence.ts';
import { DEFAULT_AUDIT_SHARE } from '../campaign/loop.ts';
import { loadUsualRuns } from '../campaign/own-record.ts';
import { loadStandings } from '../campaign/standing.ts';
import { DEFAULT_RUN_SECONDS } from '../experiment/quote-step.ts';
import { findTask, isKnown } from '../experiment/task.ts';
import { findOwnTask } from './gate.ts';
import type { StartLoopInput } from './loops.ts';
import type { Services } from './services.ts';
import { readLeftToday } from './status.ts';
import { resolveVariant } from './variant-input.ts';

/** What a loop is expected to take. */
export type LoopEstimate = {
  /** The unchanged script, the rounds, and what is run again. */
  readonly runs: number;
  readonly extra_runs: number;
  readonly cost_usdc: string;
  /** What cannot be exceeded: the loop's budget, or the dearest worker for every run that the loop may make. */
  readonly most_usdc: string;
  readonly duration_s: number;
  /** Workers whose price is within the cap. */
  readonly workers: number;
  readonly basis: string;
};

/** Share of runs that improve something and are confirmed elsewhere, as long loops have shown (field.md section 1). */
const KEEP_RATE = 0.18;
/** Extra runs that a loop makes at most beyond its rounds. */
const SPARE_EXTRAS = 3;
/** What finding, paying and judging take besides the run, seconds. */
const OVERHEAD_SECONDS = 5;
const PRICE_DEADLINE_MS = 5_000;
const CANDIDATES = 100;

/**
 * Estimates cost and time of a loop from the prices that workers ask now and from our own records; nothing is signed,
 * paid or started.
 * @throws InputError when there is no such script
 */
export async function estimateLoop(services: Services, input: StartLoopInput): Promise<LoopEstimate> {
  const { db, config } = services;
  const script = { train_py: input.train_py, train_path: input.train_path };
  const { source } = await resolveVariant(db, script, { champion: null, baseline: null });
  const leftAtomic = await readLeftToday(services);
  const asked = input.max_price_usdc === undefined ? config.maxPriceAtomic : parseUsd(input.max_price_usdc);
  const capAtomic = asked < config.maxPriceAtomic ? asked : config.maxPriceAtomic;
  const wanted = input.budget_usdc === undefined ? leftAtomic : parseUsd(input.budget_usdc);
  const budgetAtomic = wanted < leftAtomic ? wanted : leftAtomic;
  const market = (await loadMarket(services)).filter(({ priceAtomic }) => priceAtomic <= capAtomic);
  const task = findOwnTask(services, source) ?? findTask(source);
  const extra = Math.ceil(input.rounds * KEEP_RATE + (input.rounds + 1) * (input.audit_share ?? DEFAULT_AUDIT_SHARE));
  const runs = 1 + input.rounds + extra;
  const lanes = market.slice(0, input.parallel);
  const fallback = task.expectedSeconds ?? DEFAULT_RUN_SECONDS;
  const seconds = median(lanes.map((worker) => worker.seconds ?? fallback)) + OVERHEAD_SECONDS;
  const priceAtomic = lanes.reduce((sum, worker) => sum + worker.priceAtomic, 0n) / BigInt(lanes.length || 1);
  const likelyAtomic = atomicUsdc(priceAtomic * BigInt(runs));
  const dearest = market.reduce(
    (most, worker) => (worker.priceAtomic > most ? worker.priceAtomic : most),
    atomicUsdc(0),
  );
  const mostAtomic = atomicUsdc(dearest * BigInt(1 + 2 * input.rounds + SPARE_EXTRAS));
  const isMeasured = lanes.some((worker) => worker.seconds !== null);
  return {
    runs,
    extra_runs: extra,
    cost_usdc: formatUsd(likelyAtomic < budgetAtomic ? likelyAtomic : budgetAtomic),
    most_usdc: formatUsd(mostAtomic < budgetAtomic ? mostAtomic : budgetAtomic),
    duration_s: lanes.length === 0 ? 0 : Math.round(seconds * (1 + Math.ceil((runs - 1) / lanes.length))),
    workers: market.length,
    basis:
      market.length === 0
        ? 'No worker with a price within the cap answered.'
        : `${lanes.length} at once of ${market.length} workers at ${formatUsd(lanes[0]?.priceAtomic ?? atomicUsdc(0))} to ${formatUsd(lanes.at(-1)?.priceAtomic ?? atomicUsdc(0))} USDC; ${Math.round(seconds)} s a run ${isMeasured ? 'by own records' : isKnown(task) ? `as usual for ${task.name}` : 'at most, nothing being known'}; budget ${formatUsd(budgetAtomic)} USDC.`,
  };
}

/** Trusted workers with what they ask and how long they take, cheapest first. */
async function loadMarket({ db, clock, discovery, prices }: Services) {
  const [found, usual, standings] = await Promise.all([
    discovery.discover({ limit: CANDIDATES }),
    loadUsualRuns(db),
    loadStandings(db, clock.nowMs()),
  ]);
  const endpoints = found.workers.flatMap((worker) => {
    const isUsable = worker.hiddenReason === undefined && worker.identity !== 'unbound' && worker.active !== false;
    const endpoint = isUsable ? worker.workerEndpoint : null;
    return endpoint === null || (standings.get(endpoint)?.state ?? 'ok') !== 'ok' ? [] : [endpoint];
  });
  const asked = await prices.fetch(endpoints, PRICE_DEADLINE_MS);
  return endpoints
    .flatMap((endpoint): { priceAtomic: AtomicUsdc; seconds: number | null }[] => {
      const price = asked.get(endpoint);
      if (price?.kind !== 'priced') return [];
      return [{ priceAtomic: price.priceAtomic, seconds: usual.get(endpoint)?.seconds ?? null }];
    })
    .toSorted((a, b) => (a.priceAtomic < b.priceAtomic ? -1 : 1));
}

/** What a dry run shares with the view of a loop; a loop that does not exist has neither reason nor THINK. */
interface EstimateView {
  readonly loop_id: string;
  readonly state: string;
  readonly summary: string;
  readonly rounds_done: number;
  readonly rounds: number;
  readonly queued: number;
  readonly in_flight: number;
  readonly extra_runs: number;
  readonly spent_usdc: string;
  readonly reserved_usdc: string;
  readonly remaining_usdc: string;
  readonly results: never[];
  readonly results_left_out: number;
  readonly estimate: LoopEstimate;
  readonly reason?: string;
  readonly think?: string;
  readonly next_step: string;
}

/** The answer to a start that is only to be estimated: no loop exists after it. */
export function viewEstimate(estimate: LoopEstimate, rounds: number): EstimateView {
  const { cost_usdc, duration_s, runs, most_usdc } = estimate;
  return {
    loop_id: 'none',
    state: 'dry_run',
    summary: `About ${cost_usdc} USDC and ${duration_s} s for ${runs} runs, at most ${most_usdc} USDC. Nothing was started, signed or paid.`,
    rounds_done: 0,
    rounds,
    queued: 0,
    in_flight: 0,
    extra_runs: 0,
    spent_usdc: '0',
    reserved_usdc: '0',
    remaining_usdc: most_usdc,
    results: [],
    results_left_out: 0,
    estimate,
    next_step: 'Start it with the same call without dry_run.',
  };
}
