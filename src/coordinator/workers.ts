import { normalizeEndpoint } from '../base/endpoint.ts';
import { InputError, NotFoundError } from '../base/errors.ts';
import { type AtomicUsdc, parseUsd } from '../base/money.ts';
import { loadOwnRecords, loadTrackRecords } from '../campaign/own-record.ts';
import type { Price } from '../campaign/prices.ts';
import { isBlockedByOperator } from '../discovery/experiment-url.ts';
import type { Worker } from '../discovery/worker.ts';
import { buildRows, type ResponseFormat } from './columns.ts';
import { parseCursor } from './cursor.ts';
import { loadReputations } from './reputations.ts';
import type { Services } from './services.ts';
import { DETAILED_WORKER_TABLE, nameWorker, type ShownWorker, WORKER_TABLE } from './worker-view.ts';

export interface DiscoverInput {
  readonly skill?: string | undefined;
  readonly chain?: string | undefined;
  readonly max_price_usdc?: number | undefined;
  readonly with_prices?: boolean | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly refresh?: boolean | undefined;
  readonly include_unreachable?: boolean | undefined;
  readonly response_format?: ResponseFormat | undefined;
}

/** What is read from chains ends when discovery has to, in milliseconds. */
const CHAIN_DEADLINE_MS = 2_500;
/** Discovery has 2.5 s of a call, prices as much again. */
const PRICE_DEADLINE_MS = 2_500;
/** More than any index lists within the pages that are asked for: pages are cut here, not there. */
export const MAX_WORKERS = 10_000;

/** Finds workers and shows what is known of each, a page at a time. */
export async function discoverWorkers(services: Services, input: DiscoverInput) {
  const startedMs = performance.now();
  const offset = parseCursor(input.cursor);
  const maxPriceAtomic = input.max_price_usdc === undefined ? null : parseUsd(input.max_price_usdc);
  const found = await services.discovery.discover({
    skill: input.skill,
    chain: input.chain,
    limit: MAX_WORKERS,
    refresh: input.refresh ?? false,
    includeUnreachable: input.include_unreachable ?? false,
  });
  const pageOf = (workers: readonly Worker[]) => workers.slice(offset, offset + input.limit);
  // Without a limit on prices nobody needs those of other pages.
  const asked = maxPriceAtomic !== null ? found.workers : input.with_prices === true ? pageOf(found.workers) : [];
  const prices = await fetchPrices(services, asked);
  const unfit = new Map(found.workers.map((worker) => [worker, findPriceProblem(worker, prices, maxPriceAtomic)]));
  const hidden: Record<string, number> = { ...found.hidden };
  for (const reason of unfit.values()) if (reason !== null) hidden[reason] = (hidden[reason] ?? 0) + 1;
  const shown = input.include_unreachable
    ? found.workers
    : found.workers.filter((worker) => (unfit.get(worker) ?? null) === null);
  const page = pageOf(shown);
  const shownTo = offset + page.length;
  const rest = {
    total: shown.length,
    sources: found.sources.map(({ source, ok, count, ms, error, ageSeconds, blocks }) => ({
      source,
      ok,
      count,
      ms,
      ...(error === null ? {} : { error }),
      ...(ageSeconds === undefined ? {} : { age_s: ageSeconds }),
      ...(blocks === undefined ? {} : { blocks: `${blocks.from}-${blocks.to}` }),
    })),
    hidden,
    ...(shownTo < shown.length ? { next_cursor: String(shownTo) } : {}),
    next_step: suggestNext(
      page,
      found.sources.every(({ ok }) => !ok),
    ),
  };
  const format = input.response_format ?? 'concise';
  // Only who wants the details waits for chains, and no longer than discovery may take.
  const waitMs = format === 'detailed' ? CHAIN_DEADLINE_MS - (performance.now() - startedMs) : 0;
  const [records, reputations] = await Promise.all([
    loadRecords(services, page, format),
    loadReputations(services, page, waitMs),
  ]);
  const items = page.map((worker): ShownWorker => {
    const endpoint = worker.workerEndpoint ?? '';
    const price = prices.get(endpoint) ?? null;
    const [record, reputation] = [records.get(endpoint), reputations.get(worker.workerId)];
    return { worker, price, unfit: unfit.get(worker) ?? null, record, reputation };
  });
  const table = format === 'concise' ? WORKER_TABLE : DETAILED_WORKER_TABLE;
  return { workers: buildRows(items, table, format, rest), ...rest };
}

/** What was asked of whom; who did not answer in time is said, not left out. */
async function fetchPrices(services: Services, workers: readonly Worker[]): Promise<Map<string, Price | 'no_answer'>> {
  const endpoints = workers.flatMap(({ workerEndpoint, hiddenReason }) =>
    workerEndpoint !== null && hiddenReason === undefined ? [workerEndpoint] : [],
  );
  const answers = await services.prices.fetch(endpoints, PRICE_DEADLINE_MS);
  return new Map(endpoints.map((endpoint) => [endpoint, answers.get(endpoint) ?? 'no_answer']));
}

function loadRecords({ db }: Services, page: readonly Worker[], format: ResponseFormat) {
  const endpoints = page.flatMap(({ workerEndpoint }) => workerEndpoint ?? []);
  return format === 'concise' ? loadOwnRecords(db, endpoints) : loadTrackRecords(db, endpoints);
}

function suggestNext(page: readonly Worker[], hasFailed: boolean): string {
  const first = page.find((worker) => worker.hiddenReason === undefined);
  if (first) {
    const [name] = Object.values(nameWorker(first));
    return `Ask a price with probe_worker {"worker": "${name}"}, or let submit_experiment choose with worker "auto".`;
  }
  return hasFailed
    ? 'No source could be asked, so this does not mean that there are no workers: check the network and SCAN_API_URL, then try again with refresh.'
    : 'No usable worker was found: see `hidden` for the reasons, set include_unreachable to list them, or name one in AUTORESEARCH_WORKERS.';
}

/** Why a worker is outside the caller's limit on prices; null when it is not, or when there is none. */
function findPriceProblem(
  worker: Worker,
  prices: ReadonlyMap<string, Price | 'no_answer'>,
  maxPriceAtomic: AtomicUsdc | null,
): string | null {
  if (maxPriceAtomic === null || worker.hiddenReason !== undefined) return null;
  const price = worker.workerEndpoint === null ? undefined : prices.get(worker.workerEndpoint);
  if (price === undefined || price === 'no_answer') return 'price_unknown';
  if (price.kind === 'unusable') return price.hasAnswered ? 'not_payable' : 'price_unknown';
  return price.kind === 'priced' && price.priceAtomic > maxPriceAtomic ? 'over_max_price' : null;
}

/** Where a worker is that a caller named, and what discovery knows of it. */
interface ResolvedWorker {
  readonly endpoint: string;
  readonly workerId: string | null;
  readonly known: Worker | null;
}

/** A worker by its endpoint, or by the id that discovery gave it. @throws InputError, NotFoundError */
export async function resolveWorker(services: Services, worker: string): Promise<ResolvedWorker> {
  if (/^https?:\/\//i.test(worker)) {
    const endpoint = normalizeEndpoint(worker);
    if (endpoint === null)
      throw new InputError(
        'bad_endpoint',
        `${JSON.stringify(worker.slice(0, 200))} is not the address of a worker.`,
        'Give a full address such as https://host/services/autoresearch-worker.',
      );
    const found = await services.discovery.discover({ limit: MAX_WORKERS });
    const known = found.workers.find((candidate) => candidate.workerEndpoint === endpoint);
    return { endpoint, workerId: known?.workerId ?? null, known: known ?? null };
  }
  const found = await services.discovery.discover({ limit: MAX_WORKERS, includeUnreachable: true });
  const known = found.workers.find(
    ({ workerId, identities }) => workerId === worker || identities.some((entry) => entry.workerId === worker),
  );
  if (known?.workerEndpoint) {
    return { endpoint: known.workerEndpoint, workerId: known.workerId, known };
  }
  throw new NotFoundError('worker', worker, 'Give an endpoint (https://…) or a worker_id from discover_workers.');
}

/**
 * The operator's word stands above that of whoever calls.
 * @throws InputError `blocked_worker`
 */
export function assertWanted({ config }: Pick<Services, 'config'>, endpoint: string): void {
  if (!isBlockedByOperator(endpoint, config.blockedWorkers)) return;
  throw new InputError(
    'blocked_worker',
    `${JSON.stringify(endpoint.slice(0, 200))} is one of the workers that the operator never wants (AUTORESEARCH_BLOCKED_WORKERS). Nothing was submitted or paid.`,
    'Name another worker, or let "auto" choose one.',
  );
}
