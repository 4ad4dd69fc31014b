import { type Kysely, type Migration, type MigrationProvider, sql } from 'kysely';
import { SPENDING, TALLIES, VARIANT_COUNT, VARIANT_SCORES } from './tallies.ts';

/** Every change of the schema is a new entry; the text of a published one is never touched. */
const MIGRATIONS: Readonly<Record<string, readonly string[]>> = {
  '0001-first': [
    `create table settings (key text primary key, value text not null) strict`,
    `create table cache (key text primary key, value text not null, stored_at integer not null) strict`,
    `create table sources (train_hash text primary key, source text not null, created_at integer not null) strict`,
    `create table quotes (
      quote_id text primary key, worker_endpoint text not null, worker_id text, terms text not null,
      created_at integer not null, expires_at integer not null) strict`,
    `create table experiments (
      experiment_id text primary key, idempotency_key text not null unique,
      state text not null, settlement text not null, reason text,
      train_hash text not null references sources, variant_hash text not null, config text not null,
      parent_hash text, root_hash text not null, description text not null, hypothesis text, agent text,
      worker_request text not null, quote_id text, max_price integer not null, consent text not null,
      loop_id text, role text not null, round integer,
      worker_endpoint text, worker_id text, worker_choice text, attempt integer not null,
      val_bpb real, result text, verdict text, judgement text,
      lease_owner text, lease_until integer not null, epoch integer not null, avoid text not null,
      created_at integer not null, updated_at integer not null, finished_at integer) strict`,
    `create index experiments_by_state on experiments (finished_at, lease_until)`,
    `create index experiments_by_loop on experiments (loop_id, created_at)`,
    `create index experiments_by_score on experiments (root_hash, val_bpb) where val_bpb is not null`,
    `create index experiments_by_time on experiments (created_at)`,
    `create table attempts (
      experiment_id text not null references experiments, attempt integer not null,
      worker_endpoint text not null, worker_id text, chain_id integer not null,
      payer text, pay_to text, value integer not null, valid_before integer, nonce text unique,
      terms text not null, state text not null, header text, sends integer not null, first_sent_at integer,
      from_block integer, payment_tx text, claimed_tx text, reason text,
      created_at integer not null, updated_at integer not null,
      primary key (experiment_id, attempt)) strict`,
    `create index attempts_by_state on attempts (state)`,
    `create table ledger (
      entry integer primary key, experiment_id text not null, attempt integer not null, loop_id text,
      amount integer not null check (amount >= 0), state text not null check (state in ('held', 'spent', 'released')),
      created_at integer not null, updated_at integer not null,
      unique (experiment_id, attempt),
      foreign key (experiment_id, attempt) references attempts) strict`,
    `create index ledger_by_state on ledger (state, updated_at)`,
    `create index ledger_by_loop on ledger (loop_id) where loop_id is not null`,
    `create table replies (
      reply integer primary key, experiment_id text not null, attempt integer not null,
      status integer not null, headers text not null, body blob not null, received_at integer not null) strict`,
    `create table jobs (
      experiment_id text not null, attempt integer not null, status_url text not null, result_url text not null,
      token text not null, expires_at integer not null, primary key (experiment_id, attempt)) strict`,
    `create index replies_by_experiment on replies (experiment_id, attempt)`,
    `create table records (
      seq integer primary key, experiment_id text not null unique, line text not null, created_at integer not null) strict`,
    `create table loops (
      loop_id text primary key, state text not null, reason text, root_hash text not null, settings text not null,
      queue text not null,
      created_at integer not null, updated_at integer not null) strict`,
    `create table slots (worker_endpoint text primary key, experiment_id text not null, until integer not null) strict`,
  ],
  '0002-registries': [
    `create table registry_scans (
      chain_id integer not null, registry text not null, genesis text not null,
      covered text not null, window_blocks integer not null, updated_at integer not null,
      primary key (chain_id, registry)) strict`,
    `create table registry_agents (
      chain_id integer not null, registry text not null, agent_id text not null,
      block integer not null, log_index integer not null, uri_digest text not null,
      claims text, reason text, read_at integer,
      primary key (chain_id, registry, agent_id)) strict, without rowid`,
    `create index registry_agents_by_block on registry_agents (chain_id, registry, block)`,
    `create index registry_agents_by_claims on registry_agents (chain_id, registry, block)
      where claims is null or claims <> '[]'`,
  ],
  // Records of workers and rankings are read with every list: counted and ordered from these indexes alone.
  '0003-own-record': [
    `create index experiments_by_worker on experiments (worker_endpoint, updated_at, state, verdict, val_bpb)
      where worker_endpoint is not null`,
    `create index experiments_by_worker_score on experiments (worker_endpoint, val_bpb, verdict)
      where val_bpb is not null`,
    `create index experiments_by_rank on experiments (val_bpb, created_at, verdict) where val_bpb is not null`,
    `create index attempts_by_worker on attempts (worker_endpoint, updated_at, state, value)`,
  ],
  '0004-feedbacks': [
    `create table feedbacks (
      feedback integer primary key, experiment_id text not null references experiments, worker_id text not null,
      chain_id integer not null, client text not null, plan text not null, about text not null,
      state text not null check (state in ('intent', 'signed', 'sent', 'confirmed', 'reverted', 'replaced')),
      raw text, tx text, feedback_index text, created_at integer not null, updated_at integer not null) strict`,
    // One feedback per experiment, and one transaction of an account at a time: its number is taken from the chain.
    `create unique index feedbacks_standing on feedbacks (experiment_id)
      where state in ('intent', 'signed', 'sent', 'confirmed')`,
    `create unique index feedbacks_open on feedbacks (client, chain_id) where state in ('intent', 'signed', 'sent')`,
  ],
  '0005-judging': [
    // What a run is compared by, and the run that it repeats.
    `alter table experiments add column audit_of text`,
    `alter table experiments add column evidence text`,
    `create index experiments_by_variant on experiments (variant_hash, worker_endpoint) where val_bpb is not null`,
    // The history of champions: a row is never changed, and of two writers at once one finds its number taken.
    `create table titles (
      scope text not null, seq integer not null, root_hash text not null, experiment_id text not null references experiments,
      variant_hash text not null, verified integer not null, cause text not null, created_at integer not null,
      primary key (scope, seq)) strict, without rowid`,
    `create index titles_by_root on titles (root_hash)`,
  ],
  // What was run whatever its spelling, how it differs from its parent, and who is at it.
  '0006-novelty': [
    `create table variants (
      variant_hash text primary key, effective_hash text not null, root_hash text not null, description text not null,
      knobs text not null, lines text not null, warnings text not null, created_at integer not null) strict`,
    `create index variants_by_effect on variants (effective_hash)`,
    `create index variants_by_root on variants (root_hash, created_at)`,
    `create index experiments_by_program on experiments (variant_hash, created_at)`,
    `create table claims (
      effective_hash text primary key, experiment_id text, loop_id text, agent text,
      until integer not null, created_at integer not null) strict`,
  ],
  // Ideas and conclusions about a script; and what THINK reads of a loop, whatever its length.
  '0007-notes': [
    `create table hypotheses (
      hypothesis integer primary key, root_hash text not null, loop_id text not null, text text not null,
      priority integer not null check (priority between 1 and 5), retired integer not null, agent text,
      created_at integer not null, unique (root_hash, text)) strict`,
    `create index hypotheses_open on hypotheses (root_hash, retired, priority, created_at)`,
    `create table insights (
      insight integer primary key, root_hash text not null, loop_id text not null, text text not null,
      evidence text not null, confidence real not null check (confidence between 0 and 1),
      superseded_by integer references insights, agent text,
      created_at integer not null, unique (root_hash, text)) strict`,
    `create index insights_standing on insights (root_hash, superseded_by, created_at)`,
    `create index experiments_by_hypothesis on experiments (root_hash, hypothesis, created_at)
      where hypothesis is not null`,
    `create index experiments_by_loop_score on experiments (loop_id, val_bpb, verdict) where val_bpb is not null`,
    `create index experiments_by_loop_verdict on experiments (loop_id, verdict, created_at) where verdict is not null`,
    `create index experiments_by_loop_role on experiments (loop_id, role, finished_at, state)`,
  ],
  // Decisions look at the newest runs of a lineage and at what was said about its champions.
  '0008-lineages': [
    `create index experiments_by_lineage on experiments (root_hash, created_at, experiment_id)
      where val_bpb is not null`,
    `create index experiments_by_repeat on experiments (audit_of) where audit_of is not null`,
  ],
  // Rankings by agent and by worker.
  '0009-rankings': [
    `create index experiments_by_agent on experiments (agent, val_bpb)
      where agent is not null and val_bpb is not null`,
    `create index experiments_by_repeat_time on experiments (created_at) where audit_of is not null`,
    ...TALLIES,
  ],
  // Submissions that were answered with an experiment which another one had made.
  '0010-keys': [
    `create table keys (
      key text primary key, experiment_id text not null references experiments, created_at integer not null)
      strict, without rowid`,
  ],
  // What an operator said of the task of a lineage.
  '0011-tasks': [
    `create table tasks (root_hash text primary key, definition text not null, updated_at integer not null)
      strict, without rowid`,
  ],
  // Sums of the ledger that cost the same however long it is.
  '0012-spending': SPENDING,
  // The ranking of variants, each once.
  '0013-variant-scores': VARIANT_SCORES,
  // A loop may start from a script that has parents.
  '0014-loop-baselines': [`alter table loops add column baseline_hash text`],
  // Variants that differ by their config alone share their source.
  '0015-parent-variants': [
    `create index experiments_by_source on experiments (train_hash, created_at)`,
    `alter table experiments add column parent_variant_hash text`,
    `update experiments set parent_variant_hash = coalesce(
      (select parent.variant_hash from experiments as parent
        where parent.train_hash = experiments.parent_hash and parent.config = experiments.config
          and parent.variant_hash <> experiments.variant_hash limit 1),
      (select parent.variant_hash from experiments as parent
        where parent.train_hash = experiments.parent_hash and parent.variant_hash <> experiments.variant_hash
        order by parent.created_at limit 1))
      where parent_hash is not null`,
  ],
  // Counting the places of the ranking would read them all.
  '0016-variant-count': VARIANT_COUNT,
};

export const migrationProvider: MigrationProvider = {
  getMigrations: async () =>
    Object.fromEntries(
      Object.entries(MIGRATIONS).map(([name, statements]): [string, Migration] => [
        name,
        {
          up: async (db: Kysely<unknown>) => {
            for (const statement of statements) await sql.raw(statement).execute(db);
          },
        },
      ]),
    ),
};
