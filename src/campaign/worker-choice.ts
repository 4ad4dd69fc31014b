import { sha256 } from '../base/hash.ts';
import { type AtomicUsdc, formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import type { Worker } from '../discovery/worker.ts';
import type { WorkerPick } from '../experiment/drive.ts';
import type { Experiment, Reason } from '../experiment/experiment.ts';
import { NO_INDEPENDENT_WORKER } from './extra-facts.ts';
import { type OwnRecord, reliability } from './own-record.ts';
import { isIndependent, type Party } from './party.ts';
import { isWorthStarting, type Outlook } from './patience.ts';
import type { Price } from './prices.ts';
import { NEW_STANDING, type Standing } from './standing.ts';

/** Everything that the choice of a worker depends on. */
export interface ChoiceFacts {
  readonly nowMs: number;
  readonly workers: readonly Worker[];
  /** Endpoints that run an experiment of this store right now. */
  readonly taken: ReadonlySet<string>;
  readonly records: ReadonlyMap<string, OwnRecord>;
  /** What audits and failures say of each worker; new ones are missing. */
  readonly standings: ReadonlyMap<string, Standing>;
  /** Usual duration of a run on a worker, seconds; missing where nobody knows. */
  readonly durations: ReadonlyMap<string, number>;
  /** Tier of each worker, as its last run had it. */
  readonly tiers: ReadonlyMap<string, string>;
  /** Tier of the runs that this one is to be compared with: scores of others tell nothing beside them; null: any. */
  readonly wantedTier: string | null;
  /** Whether a score of another tier would be worth nothing at all: better wait for a worker than pay for it. */
  readonly isComparison?: boolean;
  /** For a repeat: who ran the program already, none of whom may run it again; empty for others. */
  readonly parties: readonly Party[];
  /** Endpoint that the caller would like best. */
  readonly preferred: string | null;
  /** Endpoints that take a run as a job, whose result is fetched; absent: nobody knows. */
  readonly jobTakers?: ReadonlySet<string>;
  /** Absent: nobody is waited for while another worker is free. */
  readonly outlook?: Outlook;
  readonly fetchPrices: (endpoints: readonly string[]) => Promise<ReadonlyMap<string, Price>>;
}

interface Candidate {
  readonly endpoint: string;
  readonly workerId: string | null;
  readonly owner: string | null;
  readonly isBusy: boolean;
}

interface PricedCandidate extends Candidate {
  readonly priceAtomic: AtomicUsdc;
  /** Price of a result that can be believed, slow ones dearer. */
  readonly expectedAtomic: number;
}

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
  const isOnTier = ({ endpoint }: Candidate) => rankTier(endpoint, facts) < 2;
  const free = usable.filter(({ endpoint }) => !facts.taken.has(endpoint));
  if (free.length === 0) return { kind: 'wait' };
  const prices = await facts.fetchPrices(free.map(({ endpoint }) => endpoint));
  const priced = free.flatMap((candidate) => priceCandidate(candidate, prices, facts));
  const affordable = priced.filter(({ priceAtomic }) => priceAtomic <= experiment.maxPriceAtomic);
  const best = affordable.toSorted((a, b) => compareCandidates(a, b, experiment, facts))[0];
  const mayWait = facts.isComparison && free.length < usable.length;
  if (best && mayWait && rankTier(best.endpoint, facts) === 2 && usable.some(isOnTier)) return { kind: 'wait' };
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

/** Whether a worker is another party than all that ran the program. */
function isOther(worker: Party, { parties }: ChoiceFacts): boolean {
  return parties.every((party) => isIndependent(worker, party));
}

function standingOf(endpoint: string, { standings }: ChoiceFacts): Standing {
  return standings.get(endpoint) ?? NEW_STANDING;
}

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

/** Beside workers whose word others confirmed, one of which nobody did has to be that much cheaper. */
const STRANGER_TRUST = 0.5;

function isSomebodyProven({ standings }: ChoiceFacts): boolean {
  return [...standings.values()].some(({ agreements, state }) => agreements > 0 && state === 'ok');
}

function priceCandidate(
  candidate: Candidate,
  prices: ReadonlyMap<string, Price>,
  facts: ChoiceFacts,
): PricedCandidate[] {
  const { endpoint, owner } = candidate;
  const price = prices.get(endpoint);
  if (price?.kind !== 'priced' || !isOther({ endpoint, owner, payTo: price.payTo }, facts)) return [];
  const { priceAtomic } = price;
  return [{ ...candidate, priceAtomic, expectedAtomic: expectCost(endpoint, priceAtomic, facts) }];
}

/** Expected price of a result that can be believed, atomic USDC, slow ones dearer. */
function expectCost(endpoint: string, priceAtomic: AtomicUsdc, facts: ChoiceFacts): number {
  const isStranger = standingOf(endpoint, facts).agreements === 0 && isSomebodyProven(facts);
  const trust = standingOf(endpoint, facts).trust * (isStranger ? STRANGER_TRUST : 1);
  const goodShare = reliability(facts.records.get(endpoint)) * trust;
  const weight = weighDuration(endpoint, facts.durations) * (facts.jobTakers?.has(endpoint) ? JOB_WEIGHT : 1);
  return (Number(priceAtomic) / goodShare) * weight;
}

/** A connection that has to stay open for a whole run is cut now and then; a job's result can be fetched again. */
const JOB_WEIGHT = 0.95;
/** Slower than the fastest by this factor and more counts alike. */
const MAX_SLOWNESS = 4;
/** What quoting, paying and judging take besides the run, seconds: among short runs speed is worth nothing. */
const OVERHEAD_SECONDS = 30;

/** 1 for the fastest and for those of whom nobody knows, up to 2 for slow ones: waiting costs less than paying. */
function weighDuration(endpoint: string, durations: ReadonlyMap<string, number>): number {
  const own = durations.get(endpoint);
  const fastest = Math.min(...durations.values());
  if (own === undefined) return 1;
  return Math.sqrt(Math.min((own + OVERHEAD_SECONDS) / (fastest + OVERHEAD_SECONDS), MAX_SLOWNESS));
}

/**
 * Preferred first, then the wanted tier, then those that are free, then the least expected cost. Who repeats a run is
 * drawn by lot instead, so that nobody gets to confirm an accomplice by being cheap; a would-be champion is given to
 * workers first whose word was confirmed.
 */
function compareCandidates(
  a: PricedCandidate,
  b: PricedCandidate,
  { role, experimentId }: Experiment,
  facts: ChoiceFacts,
): number {
  const isRepeat = facts.parties.length > 0;
  const rank = ({ endpoint, isBusy }: PricedCandidate) =>
    (endpoint === facts.preferred ? 0 : 12) +
    4 * rankTier(endpoint, facts) +
    (role === 'confirmation' && standingOf(endpoint, facts).agreements === 0 ? 2 : 0) +
    (isBusy ? 1 : 0);
  const lot = ({ endpoint }: PricedCandidate) => sha256(`${experimentId} ${endpoint}`);
  const byCost = a.expectedAtomic - b.expectedAtomic || (a.endpoint < b.endpoint ? -1 : 1);
  return rank(a) - rank(b) || (isRepeat ? (lot(a) < lot(b) ? -1 : 1) : byCost);
}

/** 0 on the wanted tier, 2 on another one; between them who never ran, where the market has several tiers. */
function rankTier(endpoint: string, { tiers, wantedTier }: ChoiceFacts): number {
  if (wantedTier === null) return 0;
  const tier = tiers.get(endpoint);
  if (tier !== undefined) return tier === wantedTier ? 0 : 2;
  return [...tiers.values()].some((known) => known !== wantedTier) ? 1 : 0;
}

function explain(best: PricedCandidate, count: number, facts: ChoiceFacts): string {
  const price = `${formatUsd(best.priceAtomic)} USDC`;
  if (best.endpoint === facts.preferred) return `preferred worker, ${price}`;
  const record = facts.records.get(best.endpoint);
  const seconds = facts.durations.get(best.endpoint);
  const { agreements, disagreements } = standingOf(best.endpoint, facts);
  const parts = [
    price,
    record ? `${record.scored} of ${record.runs} own runs scored` : 'not used before',
    ...(seconds === undefined ? [] : [`${seconds} s a run`]),
    ...(agreements + disagreements > 0 ? [`${agreements} of ${agreements + disagreements} audits agreed`] : []),
  ];
  const who = facts.parties.length > 0 ? 'independent worker' : 'free worker';
  return `least expected cost of ${count} ${who}${count === 1 ? '' : 's'}: ${parts.join(', ')}`;
}
