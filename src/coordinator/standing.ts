import type { ResponseFormat } from './columns.ts';

export interface LeaderboardInput {
  /** `global`: what workers report of themselves, apart from everything that we checked. */
  readonly scope: 'variants' | 'workers' | 'agents' | 'experiments' | 'global';
  /** Words that an experiment has to hold; of the scope `experiments` alone. */
  readonly search?: string | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly response_format?: ResponseFormat | undefined;
}

/** A row of any of the rankings; what does not belong to it is absent. */
export type Standing = {
  readonly rank: number;
  readonly val_bpb?: number;
  readonly verdict?: string;
  readonly state?: string;
  readonly experiment_id?: string;
  readonly worker_endpoint?: string;
  readonly worker_id?: string;
  readonly description?: string;
  readonly price_usdc?: string;
  readonly payment_tx?: string;
  readonly train_hash?: string;
  readonly created_at?: string;
  readonly agent?: string;
  readonly hypothesis?: string;
  readonly kept?: number;
  readonly runs?: number;
  readonly scored?: number;
  readonly spent_usdc?: string;
  readonly self_reported_val_bpb?: number;
  readonly own_median_val_bpb?: number;
  readonly own_best_val_bpb?: number;
  readonly updated?: string;
  readonly fetched_at?: string;
  readonly stale?: boolean;
  readonly identity?: string;
};
