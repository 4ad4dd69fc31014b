import type { Generated } from 'kysely';
import type { HypothesesTable, InsightsTable } from './schema-notes.ts';
import type { FeedbacksTable, RegistryAgentsTable, RegistryScansTable } from './schema-registries.ts';
import type {
  AgentTalliesTable,
  SpendingTable,
  VariantCountTable,
  VariantScoresTable,
  WorkerTalliesTable,
} from './schema-tallies.ts';

/** Times are Unix milliseconds, amounts atomic USDC below 2^53, structured values JSON text. */
export interface Schema {
  settings: SettingsTable;
  cache: CacheTable;
  sources: SourcesTable;
  quotes: QuotesTable;
  experiments: ExperimentsTable;
  attempts: AttemptsTable;
  ledger: LedgerTable;
  spending: SpendingTable;
  variant_count: VariantCountTable;
  replies: RepliesTable;
  jobs: JobsTable;
  records: RecordsTable;
  loops: LoopsTable;
  hypotheses: HypothesesTable;
  insights: InsightsTable;
  slots: SlotsTable;
  worker_tallies: WorkerTalliesTable;
  agent_tallies: AgentTalliesTable;
  variant_scores: VariantScoresTable;
  registry_scans: RegistryScansTable;
  registry_agents: RegistryAgentsTable;
  feedbacks: FeedbacksTable;
  titles: TitlesTable;
  variants: VariantsTable;
  claims: ClaimsTable;
  keys: KeysTable;
  tasks: TasksTable;
}

interface SettingsTable {
  key: string;
  value: string;
}

interface CacheTable {
  key: string;
  value: string;
  stored_at: number;
}

interface SourcesTable {
  train_hash: string;
  source: string;
  created_at: number;
}

interface QuotesTable {
  quote_id: string;
  worker_endpoint: string;
  worker_id: string | null;
  /** The normalised terms that the caller saw and consents to. */
  terms: string;
  created_at: number;
  expires_at: number;
}

interface ExperimentsTable {
  experiment_id: string;
  idempotency_key: string;
  state: string;
  settlement: string;
  reason: string | null;
  train_hash: string;
  variant_hash: string;
  config: string;
  /** train_hash of the source that the variant was made from; null for a source of its own. */
  parent_hash: string | null;
  /** variant_hash of that source with the config that it had; null where parent_hash is, or nobody knows it. */
  parent_variant_hash: string | null;
  /** train_hash of the first source of the lineage: what shares it is compared. */
  root_hash: string;
  description: string;
  hypothesis: string | null;
  agent: string | null;
  /** What the caller asked for: an endpoint, or `auto`. */
  worker_request: string;
  quote_id: string | null;
  max_price: number;
  /** Risks that the caller takes on purpose. */
  consent: string;
  loop_id: string | null;
  /** `single`, `baseline`, `round`, or what an extra run of a loop is for. */
  role: string;
  round: number | null;
  /** The experiment that this one repeats elsewhere; null for one of its own. */
  audit_of: string | null;
  /** What the run is compared by: seed, tier, data; null before it is judged. */
  evidence: string | null;
  worker_endpoint: string | null;
  worker_id: string | null;
  /** Why this worker was chosen, one line. */
  worker_choice: string | null;
  attempt: number;
  val_bpb: number | null;
  result: string | null;
  verdict: string | null;
  judgement: string | null;
  lease_owner: string | null;
  lease_until: number;
  epoch: number;
  /** Workers that refused this experiment for now, with the time at which they may be asked again. */
  avoid: string;
  created_at: number;
  updated_at: number;
  finished_at: number | null;
}

interface AttemptsTable {
  experiment_id: string;
  attempt: number;
  worker_endpoint: string;
  worker_id: string | null;
  chain_id: number;
  /** Null for a worker that asks for no payment, as are all fields of the authorization below. */
  payer: string | null;
  pay_to: string | null;
  value: number;
  valid_before: number | null;
  nonce: string | null;
  /** The chosen offer and its envelope as received. */
  terms: string;
  state: string;
  /** A bearer instrument: never leaves the store but to the worker. */
  header: string | null;
  sends: number;
  first_sent_at: number | null;
  /** Block at which the chain stood when the intent was written: where the search for its settlement starts. */
  from_block: number | null;
  payment_tx: string | null;
  claimed_tx: string | null;
  reason: string | null;
  created_at: number;
  updated_at: number;
}

interface LedgerTable {
  entry: Generated<number>;
  experiment_id: string;
  attempt: number;
  loop_id: string | null;
  amount: number;
  /** `held`, `spent` or `released`. */
  state: string;
  created_at: number;
  updated_at: number;
}

interface RepliesTable {
  reply: Generated<number>;
  experiment_id: string;
  attempt: number;
  status: number;
  headers: string;
  body: Uint8Array;
  received_at: number;
}

/** Paid jobs at a broker; the token opens the result and is a secret. Empty: it opens with a wallet sign-in. */
interface JobsTable {
  experiment_id: string;
  attempt: number;
  status_url: string;
  result_url: string;
  token: string;
  expires_at: number;
}

interface RecordsTable {
  seq: Generated<number>;
  experiment_id: string;
  line: string;
  created_at: number;
}

interface LoopsTable {
  loop_id: string;
  state: string;
  reason: string | null;
  root_hash: string;
  /** What it started from; null: the root. */
  baseline_hash: string | null;
  settings: string;
  /** Proposals that wait for their turn. */
  queue: string;
  created_at: number;
  updated_at: number;
}

interface SlotsTable {
  worker_endpoint: string;
  experiment_id: string;
  until: number;
}

/** Who held a lineage's title and when; the newest row of a scope is in force. */
interface TitlesTable {
  /** A loop, or the root of experiments outside loops. */
  scope: string;
  /** From 1, without gaps. */
  seq: number;
  root_hash: string;
  /** The run that made the variant a champion. */
  experiment_id: string;
  variant_hash: string;
  /** 0 or 1: whether an independent worker confirmed it. */
  verified: number;
  cause: string;
  created_at: number;
}

/** What is known of a variant before it runs. */
interface VariantsTable {
  variant_hash: string;
  /** Equal for variants that run the same program with the same values. */
  effective_hash: string;
  root_hash: string;
  description: string;
  /** Knobs that it sets to other values than its parent. */
  knobs: string;
  /** Its other added and removed lines. */
  lines: string;
  /** What the gate has to say about it. */
  warnings: string;
  created_at: number;
}

/** Who is at a variant: one holder, over all processes of the store. */
interface ClaimsTable {
  effective_hash: string;
  /** Null while it waits in the queue of a loop. */
  experiment_id: string | null;
  loop_id: string | null;
  agent: string | null;
  until: number;
  created_at: number;
}

/** Keys of submissions that were answered with an experiment which another one had made. */
interface KeysTable {
  key: string;
  experiment_id: string;
  created_at: number;
}

/** Tasks that an operator defined, as they stood when the newest variant of the lineage passed the gate. */
interface TasksTable {
  root_hash: string;
  /** A task definition, JSON. */
  definition: string;
  updated_at: number;
}
