import { type AtomicUsdc, formatUsd } from '../base/money.ts';
import type { Worker } from '../discovery/worker.ts';
import type { WorkerPick } from '../experiment/drive.ts';
import type { Experiment, Reason } from '../experiment/experiment.ts';
import { type OwnRecord, reliability } from './own-record.ts';
import type { Price } from './prices.ts';

/** Everything that the choice of a worker depends on. */
export interface ChoiceFacts {
  readonly nowMs: number;
  readonly workers: readonly Worker[];
  /** Endpoints that run an experiment of this store right now. */
  readonly taken: ReadonlySet<string>;
  readonly records: ReadonlyMap<string, OwnRecord>;
  /** Endpoint that the caller would like best. */
  readonly preferred: string | null;
  readonly fetchPrices: (endpoints: readonly string[]) => Promise<ReadonlyMap<string, Price>>;
}

interface Candidate {
  readonly endpoint: string;
  readonly workerId: string | null;
}

interface PricedCandidate extends Candidate {
  readonly priceAtomic: AtomicUsdc;
  readonly expectedAtomic: number;
}

/** An avoided worker that comes back within this time is worth waiting for, in milliseconds. */
const SHORT_WAIT_MS = 30_000;

/** Picks the free worker that is expected to give a good result for the least money; the preferred one comes first. */
export async function chooseWorker(experiment: Experiment, facts: ChoiceFacts): Promise<WorkerPick> {
  const known = listCandidates(facts);
  if (known.length === 0) return { kind: 'none', reason: NO_WORKER };
  const { avoid } = experiment;
  const usable = known.filter(({ endpoint }) => (avoid[endpoint] ?? 0) <= facts.nowMs);
  if (usable.length === 0) {
    const isShort = known.some(({ endpoint }) => (avoid[endpoint] ?? 0) - facts.nowMs < SHORT_WAIT_MS);
    return isShort ? { kind: 'wait' } : { kind: 'none', reason: experiment.reason ?? NO_WORKER };
  }
  const free = usable.filter(({ endpoint }) => !facts.taken.has(endpoint));
  if (free.length === 0) return { kind: 'wait' };
  const prices = await facts.fetchPrices(free.map(({ endpoint }) => endpoint));
  const priced = free.flatMap((candidate) => priceCandidate(candidate, prices, facts.records));
  const affordable = priced.filter(({ priceAtomic }) => priceAtomic <= experiment.maxPriceAtomic);
  const best = affordable.toSorted((a, b) => compareCandidates(a, b, facts.preferred))[0];
  if (best)
    return {
      kind: 'worker',
      endpoint: best.endpoint,
      workerId: best.workerId,
      choice: explain(best, affordable.length, facts),
    };
  if (free.length < usable.length) return { kind: 'wait' };
  return { kind: 'none', reason: priced.length > 0 ? tooDear(priced, experiment.maxPriceAtomic) : NOT_PAYABLE };
}

const NO_WORKER: Reason = {
  code: 'no_worker',
  text: 'No worker was found that may be chosen automatically. Nothing was signed or paid.',
  nextStep: 'Run discover_workers with include_unreachable to see why, or name a worker yourself.',
};

const NOT_PAYABLE: Reason = {
  code: 'no_payable_worker',
  text: 'None of the workers found answers with a price that can be paid safely. Nothing was signed or paid.',
  nextStep: 'Run discover_workers with with_prices to see why, or name a worker yourself.',
};

function tooDear(priced: readonly PricedCandidate[], maxPriceAtomic: AtomicUsdc): Reason {
  const cheapest = priced.reduce((a, b) => (a.priceAtomic <= b.priceAtomic ? a : b));
  return {
    code: 'over_price_cap',
    text: `The cheapest of ${priced.length} workers asks ${formatUsd(cheapest.priceAtomic)} USDC; the cap of one experiment is ${formatUsd(maxPriceAtomic)} USDC. Nothing was signed or paid.`,
    nextStep: 'Raise max_price_usdc, at most to AUTORESEARCH_MAX_PRICE.',
  };
}

/** Workers that may be chosen without a person's word: unbound ones and those that are off are not among them. */
function listCandidates({ workers, preferred }: ChoiceFacts): Candidate[] {
  const found = workers.flatMap((worker) => {
    const isUsable =
      worker.workerEndpoint !== null &&
      worker.hiddenReason === undefined &&
      worker.identity !== 'unbound' &&
      worker.active !== false &&
      worker.health.status !== 'unreachable';
    return isUsable && worker.workerEndpoint !== null
      ? [{ endpoint: worker.workerEndpoint, workerId: worker.workerId }]
      : [];
  });
  if (preferred === null || found.some(({ endpoint }) => endpoint === preferred)) return found;
  return [{ endpoint: preferred, workerId: null }, ...found];
}

function priceCandidate(
  candidate: Candidate,
  prices: ReadonlyMap<string, Price>,
  records: ReadonlyMap<string, OwnRecord>,
): PricedCandidate[] {
  const price = prices.get(candidate.endpoint);
  if (price?.kind !== 'priced') return [];
  const expectedAtomic = Number(price.priceAtomic) / reliability(records.get(candidate.endpoint));
  return [{ ...candidate, priceAtomic: price.priceAtomic, expectedAtomic }];
}

function compareCandidates(a: PricedCandidate, b: PricedCandidate, preferred: string | null): number {
  const rank = ({ endpoint }: PricedCandidate) => (endpoint === preferred ? 0 : 1);
  return rank(a) - rank(b) || a.expectedAtomic - b.expectedAtomic || (a.endpoint < b.endpoint ? -1 : 1);
}

function explain(best: PricedCandidate, count: number, facts: ChoiceFacts): string {
  const price = `${formatUsd(best.priceAtomic)} USDC`;
  if (best.endpoint === facts.preferred) return `preferred worker, ${price}`;
  const record = facts.records.get(best.endpoint);
  const own = record ? `${record.scored} of ${record.runs} own runs scored` : 'not used before';
  return `least expected cost of ${count} free worker${count === 1 ? '' : 's'}: ${price}, ${own}`;
}
