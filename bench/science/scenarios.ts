import { Campaign, type CampaignOutcome, START_MS } from './campaign.ts';
import { Field, type Job } from './field.ts';
import { JOBS, REALISTIC } from './jobs.ts';
import { Market, type MarketRules } from './market.ts';
import type { Outcome } from './outcome.ts';
import { runPlain } from './plain.ts';

/** A field and a market on which both rules are tried. */
export interface Scenario {
  readonly name: string;
  readonly job: Job;
  readonly market: MarketRules;
  /** The goals of issue 5 are about this one; the others show what they depend on. */
  readonly isGoal: boolean;
}

const HONEST: MarketRules = { workers: 20, liars: 0, colluding: 0, largeShare: 0.6, lieShare: 0 };
const LYING: MarketRules = { ...HONEST, liars: 6, lieShare: 1 };

export const SCENARIOS: readonly Scenario[] = [
  ...JOBS.map((job) => ({ name: job.name, job, market: HONEST, isGoal: job === REALISTIC })),
  { name: 'one tier only', job: REALISTIC, market: { ...HONEST, largeShare: 1 }, isGoal: false },
  { name: '30 % liars', job: REALISTIC, market: LYING, isGoal: true },
  { name: '30 % liars, a pair colludes', job: REALISTIC, market: { ...LYING, colluding: 2 }, isGoal: true },
  { name: '30 % liars, 4 of 10 runs', job: REALISTIC, market: { ...LYING, lieShare: 0.4 }, isGoal: true },
];

/** One campaign by our rules, and the plain rule with as many runs on the same market and on one tier of it. */
export interface Comparison {
  readonly ours: CampaignOutcome;
  readonly plain: Outcome;
  readonly kind: Outcome;
}

/** Runs at once. */
const PARALLEL = 5;
/** As `run_loop` has it. */
const AUDIT_SHARE = 0.1;

/** @param seed says which ideas there are, what they are worth, who the workers are and how lucky each run is */
export async function compareRules({ job, market: rules }: Scenario, seed: string, spend: number): Promise<Comparison> {
  const field = new Field(job, seed);
  const open = () => new Market(field, rules, seed, START_MS);
  const market = open();
  const campaign = { seed, spend, parallel: PARALLEL, auditShare: AUDIT_SHARE };
  const ours = await Campaign.run(field, market, campaign);
  const cheapest = market.sellers.toSorted((a, b) => a.priceAtomic - b.priceAtomic);
  // Whose own machine it is knows neither tiers nor liars.
  const home = cheapest.filter(({ tier, lie }) => tier.name === 'large' && lie === null);
  return {
    ours,
    plain: runPlain(field, open(), cheapest.slice(0, PARALLEL), ours.runs),
    kind: runPlain(field, open(), home.slice(0, PARALLEL), ours.runs),
  };
}
