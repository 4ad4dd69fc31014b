import type { Generated } from 'kysely';

// Tables of what agents think of a script.

/** Ideas about a script; where each stands follows from the experiments that carry its text. */
export interface HypothesesTable {
  hypothesis: Generated<number>;
  root_hash: string;
  loop_id: string;
  text: string;
  priority: number;
  retired: number;
  agent: string | null;
  created_at: number;
}

/** Conclusions from experiments with a script. */
export interface InsightsTable {
  insight: Generated<number>;
  root_hash: string;
  loop_id: string;
  text: string;
  /** Experiment ids. */
  evidence: string;
  confidence: number;
  superseded_by: number | null;
  agent: string | null;
  created_at: number;
}
