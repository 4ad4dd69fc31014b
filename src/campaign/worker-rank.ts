import { sha256 } from '../base/hash.ts';
import { type AtomicUsdc, formatUsd } from '../base/money.ts';
import type { Experiment } from '../experiment/experiment.ts';
import { type Candidate, type ChoiceFacts, isOther, type PricedCandidate, standingOf } from './choice-facts.ts';
import { reliability } from './own-record.ts';
import type { Price } from './prices.ts';

/** Beside workers whose word others confirmed, one of which nobody did has to be that much cheaper. */
const STRANGER_TRUST = 0.5;

function isSomebodyProven({ standings }: ChoiceFacts): boolean {
  return [...standings.values()].some(({ agreements, state }) => agreements > 0 && state === 'ok');
}

/** Puts a price to a worker; nothing where it has none, or turns out to be a party that ran the program. */
export function priceCandidate(
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
export function expectCost(endpoint: string, priceAtomic: AtomicUsdc, facts: ChoiceFacts): number {
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
export function compareCandidates(
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
export function rankTier(endpoint: string, { tiers, wantedTier }: ChoiceFacts): number {
  if (wantedTier === null) return 0;
  const tier = tiers.get(endpoint);
  if (tier !== undefined) return tier === wantedTier ? 0 : 2;
  return [...tiers.values()].some((known) => known !== wantedTier) ? 1 : 0;
}

/** Says in one line why a worker was chosen. @param count out of how many */
export function explain(best: PricedCandidate, count: number, facts: ChoiceFacts): string {
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
  const repeat = count === 1 ? 'the only independent worker' : `drawn by lot from ${count} independent workers`;
  const cheapest = `least expected cost of ${count} free worker${count === 1 ? '' : 's'}`;
  return `${facts.parties.length > 0 ? repeat : cheapest}: ${parts.join(', ')}`;
}
