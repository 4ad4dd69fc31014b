import { normalizeEndpoint } from '../base/endpoint.ts';
import { InputError, NotFoundError } from '../base/errors.ts';
import { type AtomicUsdc, formatUsd, parseUsd } from '../base/money.ts';
import { loadOwnRecords } from '../campaign/own-record.ts';
import type { Price } from '../campaign/prices.ts';
import type { Worker } from '../discovery/worker.ts';
import { parseCursor } from './cursor.ts';
import type { Services } from './services.ts';

export interface DiscoverInput {
  readonly skill?: string | undefined;
  readonly chain?: string | undefined;
  readonly max_price_usdc?: number | undefined;
  readonly with_prices?: boolean | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly refresh?: boolean | undefined;
  readonly include_unreachable?: boolean | undefined;
}

export interface WorkerView {
  readonly worker_id: string;
  readonly identity: string;
  readonly health: string;
  readonly source: string;
  readonly age_s: number;
  readonly worker_endpoint?: string;
  readonly chain?: string;
  readonly agent_id?: string;
  readonly payto_match?: string;
  readonly price_usdc?: string;
  readonly price_problem?: string;
  readonly own_record?: { readonly runs: number; readonly scored: number; readonly lost: number };
  readonly hidden_reason?: string;
  readonly untrusted_name?: string;
}

/** Within 45 s of a call's limit, discovery has 2.5 s and prices as much again. */
const PRICE_DEADLINE_MS = 2_500;

/** Finds workers and shows what is known of each. */
export async function discoverWorkers(services: Services, input: DiscoverInput) {
  const offset = parseCursor(input.cursor);
  const maxPriceAtomic = input.max_price_usdc === undefined ? null : parseUsd(input.max_price_usdc);
  const found = await services.discovery.discover({
    skill: input.skill,
    chain: input.chain,
    limit: 100,
    refresh: input.refresh ?? false,
    includeUnreachable: input.include_unreachable ?? false,
  });
  const wantsPrices = input.with_prices === true || maxPriceAtomic !== null;
  const endpoints = found.workers.flatMap(({ workerEndpoint, hiddenReason }) =>
    workerEndpoint !== null && hiddenReason === undefined ? [workerEndpoint] : [],
  );
  const prices = wantsPrices ? await services.prices.fetch(endpoints, PRICE_DEADLINE_MS) : new Map<string, Price>();
  const hidden: Record<string, number> = { ...found.hidden };
  const shown = found.workers.filter((worker) => {
    const problem = maxPriceAtomic === null ? null : findPriceProblem(worker, prices, maxPriceAtomic);
    if (problem !== null && input.include_unreachable !== true) hidden[problem] = (hidden[problem] ?? 0) + 1;
    return problem === null || input.include_unreachable === true;
  });
  const records = await loadOwnRecords(services.db);
  const page = shown.slice(offset, offset + input.limit);
  const isLast = offset + page.length >= shown.length;
  return {
    workers: page.map((worker) => viewWorker(worker, prices, records)),
    sources: found.sources.map(({ source, ok, count, ms, error }) => ({
      source,
      ok,
      count,
      ms,
      ...(error === null ? {} : { error }),
    })),
    hidden,
    ...(isLast ? {} : { next_cursor: String(offset + page.length) }),
    next_step: suggestNext(
      page,
      found.sources.every(({ ok }) => !ok),
    ),
  };
}

function suggestNext(page: readonly Worker[], hasFailed: boolean): string {
  const first = page.find((worker) => worker.hiddenReason === undefined);
  if (first)
    return `Ask a price with probe_worker {"worker": "${first.workerId}"}, or let submit_experiment choose with worker "auto".`;
  return hasFailed
    ? 'No source could be asked, so this does not mean that there are no workers: check the network and SCAN_API_URL, then try again with refresh.'
    : 'No usable worker was found: see `hidden` for the reasons, set include_unreachable to list them, or name one in AUTORESEARCH_WORKERS.';
}

function findPriceProblem(
  worker: Worker,
  prices: ReadonlyMap<string, Price>,
  maxPriceAtomic: AtomicUsdc,
): string | null {
  if (worker.hiddenReason !== undefined) return null;
  const price = worker.workerEndpoint === null ? undefined : prices.get(worker.workerEndpoint);
  if (!price) return 'price_unknown';
  if (price.kind === 'unusable') return 'not_payable';
  return price.kind === 'priced' && price.priceAtomic > maxPriceAtomic ? 'over_max_price' : null;
}

function viewWorker(
  worker: Worker,
  prices: ReadonlyMap<string, Price>,
  records: Awaited<ReturnType<typeof loadOwnRecords>>,
): WorkerView {
  const endpoint = worker.workerEndpoint;
  const price = endpoint === null ? undefined : prices.get(endpoint);
  const record = endpoint === null ? undefined : records.get(endpoint);
  return {
    worker_id: worker.workerId,
    identity: worker.identity,
    health: worker.health.status,
    source: worker.source,
    age_s: worker.ageSeconds,
    ...(endpoint === null ? {} : { worker_endpoint: endpoint }),
    ...(worker.chain === null ? {} : { chain: worker.chain }),
    ...(worker.agentId === null ? {} : { agent_id: worker.agentId }),
    ...viewPrice(worker, price),
    ...(record ? { own_record: { runs: record.runs, scored: record.scored, lost: record.lost } } : {}),
    ...(worker.hiddenReason === undefined ? {} : { hidden_reason: worker.hiddenReason }),
    ...(worker.untrustedName === null ? {} : { untrusted_name: worker.untrustedName }),
  };
}

function viewPrice(worker: Worker, price: Price | undefined) {
  switch (price?.kind) {
    case undefined:
      return {};
    case 'free':
      return { price_usdc: '0.00' };
    case 'unusable':
      return { price_problem: price.code };
    case 'priced':
      return { price_usdc: formatUsd(price.priceAtomic), payto_match: matchPayee(worker, price.payTo) };
  }
}

/** Whether a payee is the worker's registered wallet or owner: `none` is common and often legitimate. */
function matchPayee({ agentWallet, owner }: Worker, payTo: string): 'wallet' | 'owner' | 'none' {
  const isSame = (address: string | null) => address?.toLowerCase() === payTo.toLowerCase();
  if (isSame(agentWallet)) return 'wallet';
  return isSame(owner) ? 'owner' : 'none';
}

/** A worker by its endpoint, or by the id that discovery gave it. */
export async function resolveWorker(
  services: Services,
  worker: string,
): Promise<{ endpoint: string; workerId: string | null }> {
  if (/^https?:\/\//i.test(worker)) {
    const endpoint = normalizeEndpoint(worker);
    if (endpoint === null)
      throw new InputError(
        'bad_endpoint',
        `${JSON.stringify(worker.slice(0, 200))} is not the address of a worker.`,
        'Give a full address such as https://host/services/autoresearch-worker.',
      );
    const found = await services.discovery.discover({ limit: 100 });
    const known = found.workers.find((candidate) => candidate.workerEndpoint === endpoint);
    return { endpoint, workerId: known?.workerId ?? null };
  }
  const found = await services.discovery.discover({ limit: 100, includeUnreachable: true });
  const known = found.workers.find(
    ({ workerId, identities }) => workerId === worker || identities.some((entry) => entry.workerId === worker),
  );
  if (known?.workerEndpoint) return { endpoint: known.workerEndpoint, workerId: known.workerId };
  throw new NotFoundError('worker', worker, 'Give an endpoint (https://…) or a worker_id from discover_workers.');
}
