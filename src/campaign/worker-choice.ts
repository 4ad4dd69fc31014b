import { type AtomicUsdc, formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import type { WorkerPick } from '../experiment/drive.ts';
import type { Experiment, Reason } from '../experiment/experiment.ts';
import { type Candidate, type ChoiceFacts, isOther, type PricedCandidate, standingOf } from './choice-facts.ts';
import { NO_INDEPENDENT_WORKER } from './extra-facts.ts';
import { isWorthStarting } from './patience.ts';
import { compareCandidates, expectCost, explain, priceCandidate, rankTier } from './worker-rank.ts';

/** An avoided worker that comes back within this time is worth waiting for, in milliseconds. */
const SHORT_WAIT_MS = 30_000;

/** Picks the free worker that is expected to give a good result for the least money; the preferred one comes first. */
export async function chooseWorker(experiment: Experiment, facts: ChoiceFacts): Promise<WorkerPick> {
  const all = listCandidates(facts);
  if (all.length === 0) return { kind: 'none', reason: NO_WORKER };
  const others = all.filter(({ endpoint, owner }) => isOther({ endpoint, owner, payTo: null }, facts));
  if (others.length === 0) return { kind: 'none', reason: NOBODY_ELSE };
  const known = dropUntrusted(others, facts);
  if (known.length === 0) return { kind: 'none', reason: allQuarantined(others, facts) };
  const { avoid } = experiment;
  const usable = known.filter(({ endpoint }) => (avoid[endpoint] ?? 0) <= facts.nowMs);
  if (usable.length === 0) {
    const isShort = known.some(({ endpoint }) => (avoid[endpoint] ?? 0) - facts.nowMs < SHORT_WAIT_MS);
    return isShort ? { kind: 'wait' } : { kind: 'none', reason: experiment.reason ?? NO_WORKER };
  }
  const free = usable.filter(({ endpoint }) => !facts.taken.has(endpoint));
  if (free.length === 0) return { kind: 'wait' };
  const prices = await facts.fetchPrices(free.map(({ endpoint }) => endpoint));
  const priced = free.flatMap((candidate) => priceCandidate(candidate, prices, facts));
  const affordable = priced.filter(({ priceAtomic }) => priceAtomic <= experiment.maxPriceAtomic);
  const best = affordable.toSorted((a, b) => compareCandidates(a, b, experiment, facts))[0];
  if (best && isElsewhere(best, usable, experiment, facts)) return { kind: 'wait' };
  if (best && isTooSlow(best, usable, experiment, facts)) return { kind: 'wait' };
  if (best)
    return {
      kind: 'worker',
      endpoint: best.endpoint,
      workerId: best.workerId,
      choice: explain(best, affordable.length, facts),
    };
  if (free.length < usable.length) return { kind: 'wait' };
  if (facts.parties.length > 0 && priced.length === 0 && prices.size > 0) return { kind: 'none', reason: NOBODY_ELSE };
  return { kind: 'none', reason: priced.length > 0 ? tooDear(priced, experiment.maxPriceAtomic) : NOT_PAYABLE };
}

/** Longer than a usual run, and shorter than any experiment waits for a worker, in milliseconds. */
const MAX_WAIT_FOR_TIER_MS = 12 * 60_000;

/** Whether a run that is to be compared would land on another tier while a worker of the right one is only busy. */
function isElsewhere(best: Candidate, usable: readonly Candidate[], { createdAtMs }: Experiment, facts: ChoiceFacts) {
  if (!facts.isComparison || facts.nowMs - createdAtMs > MAX_WAIT_FOR_TIER_MS) return false;
  const isHere = ({ endpoint }: Candidate) => rankTier(endpoint, facts) < 2;
  return !isHere(best) && usable.some((candidate) => facts.taken.has(candidate.endpoint) && isHere(candidate));
}

/** Whether to wait for a busy worker that would be chosen before the best of the free ones. */
function isTooSlow(best: PricedCandidate, usable: readonly Candidate[], experiment: Experiment, facts: ChoiceFacts) {
  const { nowMs, outlook, preferred, taken, parties } = facts;
  // For a repeat it takes a busy worker's price to know whether it is another party.
  if (!outlook || best.endpoint === preferred || parties.length > 0) return false;
  const busy = usable.flatMap((candidate): string[] => {
    const pace = outlook.paces.get(candidate.endpoint);
    if (!pace || !taken.has(candidate.endpoint)) return [];
    const { priceAtomic } = pace;
    const other = { ...candidate, priceAtomic, expectedAtomic: expectCost(candidate.endpoint, priceAtomic, facts) };
    return compareCandidates(other, best, experiment, facts) < 0 ? [candidate.endpoint] : [];
  });
  return !isWorthStarting(best, busy, outlook, nowMs, experiment.createdAtMs);
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

const NOBODY_ELSE: Reason = {
  code: NO_INDEPENDENT_WORKER,
  text: 'No worker of another owner, payout address and host was found to repeat this run. Nothing was signed or paid.',
  nextStep: 'Name more workers in AUTORESEARCH_WORKERS, or see discover_workers.',
};

/** Leaves out workers in quarantine, and those on probation as long as there are others. */
function dropUntrusted(candidates: readonly Candidate[], facts: ChoiceFacts): Candidate[] {
  const state = ({ endpoint }: Candidate) => standingOf(endpoint, facts).state;
  const trusted = candidates.filter((candidate) => state(candidate) === 'ok');
  return trusted.length > 0 ? trusted : candidates.filter((candidate) => state(candidate) === 'probation');
}

function allQuarantined(candidates: readonly Candidate[], facts: ChoiceFacts): Reason {
  const ends = candidates.flatMap(({ endpoint }) => standingOf(endpoint, facts).untilMs ?? []);
  return {
    code: 'all_quarantined',
    text: `All ${candidates.length} workers that could run this are in quarantine, the first until ${isoTime(Math.min(...ends))}. Nothing was signed or paid.`,
    nextStep: 'See get_status for the reasons, wait, or name a worker yourself.',
  };
}

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
      ? [
          {
            endpoint: worker.workerEndpoint,
            workerId: worker.workerId,
            owner: worker.owner,
            isBusy: worker.health.status === 'busy',
          },
        ]
      : [];
  });
  if (preferred === null || found.some(({ endpoint }) => endpoint === preferred)) return found;
  return [{ endpoint: preferred, workerId: null, owner: null, isBusy: false }, ...found];
}
