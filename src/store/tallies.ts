/** Ends of an experiment that count as a run of its worker, and verdicts whose score may be compared. */
const ENDED = `('judged', 'published', 'failed', 'lost')`;
const COUNTING = `('BASELINE', 'KEEP', 'KEEP-SIMPLER', 'RETEST', 'DISCARD')`;
const PAID = `('settled', 'claimed')`;

const isRun = (row: string) => `(${row}.worker_endpoint is not null and ${row}.state in ${ENDED})`;
const isScored = (row: string) =>
  `(${isRun(row)} and ${row}.val_bpb is not null and ${row}.verdict is not null and ${row}.verdict in ${COUNTING})`;
const paid = (row: string) => `(case when ${row}.state in ${PAID} then ${row}.value else 0 end)`;

const upsert = (values: string) =>
  `insert into worker_tallies (worker_endpoint, runs, scored, spent) ${values}
    on conflict (worker_endpoint) do update set
      runs = runs + excluded.runs, scored = scored + excluded.scored, spent = spent + excluded.spent`;
const add = (row: string, counts: string) =>
  upsert(`select ${row}.worker_endpoint, ${counts} where ${row}.worker_endpoint is not null`);
const takeRun = `update worker_tallies set runs = runs - ${isRun('old')}, scored = scored - ${isScored('old')}
  where worker_endpoint = old.worker_endpoint`;

/**
 * Counts per worker, kept by the database itself with every change: rankings over a million experiments need not count
 * them anew. Rows of both tables are never deleted.
 */
export const TALLIES: readonly string[] = [
  `create table worker_tallies (
    worker_endpoint text primary key, runs integer not null, scored integer not null, spent integer not null) strict`,
  `insert into worker_tallies
    select row.worker_endpoint, sum(${isRun('row')}), sum(${isScored('row')}), 0 from experiments as row
    where row.worker_endpoint is not null group by row.worker_endpoint`,
  upsert(
    `select row.worker_endpoint, 0, 0, sum(${paid('row')}) from attempts as row where true group by row.worker_endpoint`,
  ),
  `create trigger experiments_tally_new after insert on experiments when ${isRun('new')} begin
    ${add('new', `${isRun('new')}, ${isScored('new')}, 0`)}; end`,
  `create trigger experiments_tally_change after update of state, verdict, val_bpb, worker_endpoint on experiments
    when ${isRun('old')} or ${isRun('new')} begin
    ${takeRun};
    ${add('new', `${isRun('new')}, ${isScored('new')}, 0`)}; end`,
  `create trigger attempts_tally_new after insert on attempts when ${paid('new')} > 0 begin
    ${add('new', `0, 0, ${paid('new')}`)}; end`,
  `create trigger attempts_tally_change after update of state, value, worker_endpoint on attempts
    when ${paid('old')} <> ${paid('new')} or old.worker_endpoint <> new.worker_endpoint begin
    update worker_tallies set spent = spent - ${paid('old')} where worker_endpoint = old.worker_endpoint;
    ${add('new', `0, 0, ${paid('new')}`)}; end`,
];
