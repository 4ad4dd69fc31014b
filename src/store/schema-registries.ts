import type { Generated } from 'kysely';

// Tables of what was read from, and written to, registries on chains.

/** How far the log of an identity registry was read. */
export interface RegistryScansTable {
  chain_id: number;
  /** Lower case. */
  registry: string;
  /** Hash of the chain's first block, empty when unknown: another chain of the same id makes everything below void. */
  genesis: string;
  /** Ranges of blocks that were read and are final, `[{from, to}]`. */
  covered: string;
  /** Blocks per request that the node took last. */
  window_blocks: number;
  updated_at: number;
}

/** An agent that the log of a registry named. */
export interface RegistryAgentsTable {
  chain_id: number;
  registry: string;
  agent_id: string;
  /** Block and index of the newest log that said where its registration is. */
  block: number;
  log_index: number;
  /** Digest of the agentURI in that log. */
  uri_digest: string;
  /** Skills that its registration claims; null: not read yet. */
  claims: string | null;
  /** Why its registration cannot be used. */
  reason: string | null;
  /** When its file was read or tried last; null for one that stands in the log itself, 0: never. */
  read_at: number | null;
}

/** Feedback about workers that was to be given on a chain. */
export interface FeedbacksTable {
  feedback: Generated<number>;
  experiment_id: string;
  worker_id: string;
  chain_id: number;
  /** Lower case. */
  client: string;
  /** What the transaction is to say and offer; every number in decimal text. */
  plan: string;
  /** What the rating is and why. */
  about: string;
  state: string;
  /** The signed transaction: the only one that is ever sent for this row. */
  raw: string | null;
  tx: string | null;
  feedback_index: string | null;
  created_at: number;
  updated_at: number;
}
