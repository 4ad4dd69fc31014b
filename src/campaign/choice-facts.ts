import type { AtomicUsdc } from '../base/money.ts';
import type { Worker } from '../discovery/worker.ts';
import type { OwnRecord } from './own-record.ts';
import { isIndependent, type Party } from './party.ts';
import type { Outlook } from './patience.ts';
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

/** A worker that may be chosen without a person's word. */
export interface Candidate {
  readonly endpoint: string;
  readonly workerId: string | null;
  readonly owner: string | null;
  readonly isBusy: boolean;
}

/** The same with what it asks. */
export interface PricedCandidate extends Candidate {
  readonly priceAtomic: AtomicUsdc;
  /** Price of a result that can be believed, slow ones dearer. */
  readonly expectedAtomic: number;
}

/** Whether a worker is another party than all that ran the program. */
export function isOther(worker: Party, { parties }: ChoiceFacts): boolean {
  return parties.every((party) => isIndependent(worker, party));
}

/** What is known of a worker's honesty. */
export function standingOf(endpoint: string, { standings }: ChoiceFacts): Standing {
  return standings.get(endpoint) ?? NEW_STANDING;
}
