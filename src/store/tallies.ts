/** Ends of an experiment that count as a run of its worker, and verdicts whose score may be compared. */
const ENDED = `('judged', 'published', 'failed', 'lost')`;
const COUNTING = `('BASELINE', 'KEEP', 'KEEP-SIMPLER', 'RETEST', 'DISCARD')`;
const PAID = `('settled', 'claimed')`;

const isRun = (row: string) => `(${row}.worker_endpoint is not null and ${row}.state in ${ENDED})`;
const isScored = (row: string) =>
  `(${isRun(row)} and ${row}.val_bpb is not null and ${row}.verdict is not null and ${row}.verdict in ${COUNTING})`;
const isLost = (row: string) => `(${isRun(row)} and ${row}.state = 'lost')`;
const isUnpaid = (row: string) => `(${row}.worker_endpoint is not null and ${row}.state = 'unpaid')`;
const hasEnded = (row: string) => `(${isRun(row)} or ${isUnpaid(row)})`;
const runCounts = (row: string) =>
  `${isRun(row)}, ${isScored(row)}, ${isLost(row)}, ${isUnpaid(row)}, 0, ${isRun(row)} * ${row}.updated_at`;
const paid = (row: string) => `(case when ${row}.state in ${PAID} then ${row}.value else 0 end)`;

const upsert = (values: string) =>
  `insert into worker_tallies (worker_endpoint, runs, scored, lost, unpaid, spent, seen_at) ${values}
    on conflict (worker_endpoint) do update set
      runs = runs + excluded.runs, scored = scored + excluded.scored, lost = lost + excluded.lost,
      unpaid = unpaid + excluded.unpaid,
      spent = spent + excluded.spent, seen_at = max(seen_at, excluded.seen_at)`;
const add = (row: string, counts: string) =>
  upsert(`select ${row}.worker_endpoint, ${counts} where ${row}.worker_endpoint is not null`);
const takeRun = `update worker_tallies set runs = runs - ${isRun('old')}, scored = scored - ${isScored('old')},
    lost = lost - ${isLost('old')}, unpaid = unpaid - ${isUnpaid('old')}
  where worker_endpoint = old.worker_endpoint`;

const KEEPING = `('KEEP', 'KEEP-SIMPLER')`;
/** Baselines and repeats are nobody's idea. */
const isProposal = (row: string) =>
  `(${row}.agent is not null and ${row}.verdict is not null and ${row}.role in ('single', 'round'))`;
const ofAgent = (row: string) =>
  `${row}.agent, 1, ${row}.val_bpb is not null and ${row}.verdict in ${COUNTING}, ${row}.verdict in ${KEEPING}`;
const upsertAgent = (row: string) =>
  `insert into agent_tallies (agent, runs, scored, kept) select ${ofAgent(row)} where ${isProposal(row)}
    on conflict (agent) do update set
      runs = runs + excluded.runs, scored = scored + excluded.scored, kept = kept + excluded.kept`;

/**
 * Counts per worker and per agent, kept by the database itself with every change: rankings over a million experiments
 * need not count them anew. Rows of experiments and attempts are never deleted, and an experiment keeps its agent.
 */
export const TALLIES: readonly string[] = [
  `create table worker_tallies (
    worker_endpoint text primary key, runs integer not null, scored integer not null, lost integer not null,
    unpaid integer not null, spent integer not null, seen_at integer not null) strict`,
  `insert into worker_tallies
    select row.worker_endpoint, sum(${isRun('row')}), sum(${isScored('row')}), sum(${isLost('row')}), sum(${isUnpaid('row')}), 0,
      max(${isRun('row')} * row.updated_at) from experiments as row
    where row.worker_endpoint is not null group by row.worker_endpoint`,
  upsert(
    `select row.worker_endpoint, 0, 0, 0, 0, sum(${paid('row')}), 0 from attempts as row where true group by row.worker_endpoint`,
  ),
  `create trigger experiments_tally_new after insert on experiments when ${hasEnded('new')} begin
    ${add('new', runCounts('new'))}; end`,
  `create trigger experiments_tally_change after update of state, verdict, val_bpb, worker_endpoint, updated_at on experiments
    when ${hasEnded('old')} or ${hasEnded('new')} begin
    ${takeRun};
    ${add('new', runCounts('new'))}; end`,
  `create trigger attempts_tally_new after insert on attempts when ${paid('new')} > 0 begin
    ${add('new', `0, 0, 0, 0, ${paid('new')}, 0`)}; end`,
  `create trigger attempts_tally_change after update of state, value, worker_endpoint on attempts
    when ${paid('old')} <> ${paid('new')} or old.worker_endpoint <> new.worker_endpoint begin
    update worker_tallies set spent = spent - ${paid('old')} where worker_endpoint = old.worker_endpoint;
    ${add('new', `0, 0, 0, 0, ${paid('new')}, 0`)}; end`,
  `create table agent_tallies (
    agent text primary key, runs integer not null, scored integer not null, kept integer not null) strict`,
  `insert into agent_tallies select agent, sum(runs), sum(scored), sum(kept) from (
    select row.agent as agent, 1 as runs, row.val_bpb is not null and row.verdict in ${COUNTING} as scored,
      row.verdict in ${KEEPING} as kept from experiments as row where ${isProposal('row')}) group by agent`,
  `create trigger experiments_tally_agent_new after insert on experiments when ${isProposal('new')} begin
    ${upsertAgent('new')}; end`,
  `create trigger experiments_tally_agent_change after update of verdict, val_bpb on experiments
    when new.agent is not null and new.role in ('single', 'round') begin
    update agent_tallies set runs = runs - (old.verdict is not null),
      scored = scored - coalesce(old.val_bpb is not null and old.verdict in ${COUNTING}, 0),
      kept = kept - coalesce(old.verdict in ${KEEPING}, 0) where agent = old.agent;
    ${upsertAgent('new')}; end`,
];

const spent = (row: string) => `(case when ${row}.state = 'spent' then ${row}.amount else 0 end)`;
const spend = (change: string) => `update spending set spent = spent + ${change}`;

/** What was ever spent, kept with every change of the ledger: the lifetime cap is checked before every payment. */
export const SPENDING: readonly string[] = [
  `create index ledger_by_time on ledger (state, updated_at, amount)`,
  `create table spending (spent integer not null check (spent >= 0)) strict`,
  `insert into spending select coalesce(sum(${spent('row')}), 0) from ledger as row`,
  `create trigger ledger_spending_new after insert on ledger when new.state = 'spent' begin
    ${spend(spent('new'))}; end`,
  `create trigger ledger_spending_change after update on ledger begin
    ${spend(`${spent('new')} - ${spent('old')}`)}; end`,
  `create trigger ledger_spending_gone after delete on ledger when old.state = 'spent' begin
    ${spend(`-${spent('old')}`)}; end`,
];

const TIER = `case when json_valid(evidence) then coalesce(evidence ->> '$.tier', 'any') else 'any' end`;
const scoreVariants = (which: string) => `insert into variant_scores
    select variant_hash, ${TIER} as tier, count(*), avg(val_bpb), experiment_id, min(created_at)
    from experiments where val_bpb is not null and verdict in ${COUNTING} and ${which} group by variant_hash, tier`;
const rescore = `delete from variant_scores where variant_hash = new.variant_hash;
    ${scoreVariants('variant_hash = new.variant_hash')}`;

/** What each program scored on each tier over all its runs that count, and the first of these; kept with every change. */
export const VARIANT_SCORES: readonly string[] = [
  `create table variant_scores (
    variant_hash text not null, tier text not null, runs integer not null, mean real not null,
    experiment_id text not null, created_at integer not null, primary key (variant_hash, tier)) strict, without rowid`,
  `create index variant_scores_by_rank on variant_scores (mean, created_at)`,
  scoreVariants('true'),
  `create trigger experiments_score_new after insert on experiments when new.val_bpb is not null begin
    ${rescore}; end`,
  `create trigger experiments_score_change after update of val_bpb, verdict, evidence on experiments
    when new.val_bpb is not null or old.val_bpb is not null begin
    ${rescore}; end`,
];

/** How many places that ranking has. */
export const VARIANT_COUNT: readonly string[] = [
  `create table variant_count (total integer not null check (total >= 0)) strict`,
  `insert into variant_count select count(*) from variant_scores`,
  `create trigger variant_scores_new after insert on variant_scores begin
    update variant_count set total = total + 1; end`,
  `create trigger variant_scores_gone after delete on variant_scores begin
    update variant_count set total = total - 1; end`,
];
