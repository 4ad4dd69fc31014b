// Tables that the database keeps itself; see tallies.ts.

/** One row, kept by triggers. */
export interface SpendingTable {
  /** What was ever spent, atomic USDC. */
  spent: number;
}

/** Kept by triggers. */
export interface WorkerTalliesTable {
  worker_endpoint: string;
  /** Runs that ended. */
  runs: number;
  /** Runs with a score that counts. */
  scored: number;
  /** Runs whose result never came. */
  lost: number;
  /** Runs that it was not paid for after all. */
  unpaid: number;
  /** What its attempts were paid, atomic USDC. */
  spent: number;
  /** When its last run ended, Unix milliseconds; 0: never. */
  seen_at: number;
}

/** Kept by triggers. */
export interface VariantScoresTable {
  variant_hash: string;
  tier: string;
  /** Runs whose score counts. */
  runs: number;
  /** Mean of their scores. */
  mean: number;
  /** The first of them. */
  experiment_id: string;
  created_at: number;
}

/** One row, kept by triggers. */
export interface VariantCountTable {
  /** Rows of `variant_scores`. */
  total: number;
}

/** Kept by triggers. */
export interface AgentTalliesTable {
  agent: string;
  /** Proposals with a verdict. */
  runs: number;
  /** Those with a score that counts. */
  scored: number;
  /** Those that were better than the champion of their time. */
  kept: number;
}
