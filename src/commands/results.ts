import { formatUsd } from '../base/money.ts';
import { formatTable, type Output } from './output.ts';
import { withCoordinator } from './with-coordinator.ts';

/** `experiments [id]`. */
export async function runExperiments(id: string | undefined, limit: number, output: Output): Promise<number> {
  if (id !== undefined) {
    const experiment = await withCoordinator((coordinator) => coordinator.getExperiment(id, 0, {}));
    output.emit(experiment);
    for (const [name, value] of Object.entries(experiment))
      output.say(`${name}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
    return 0;
  }
  const experiments = await withCoordinator((coordinator) => coordinator.listExperiments(limit));
  output.emit({ experiments });
  const rows = experiments.map((experiment) => [
    experiment.experiment_id,
    experiment.state,
    experiment.val_bpb?.toFixed(6) ?? '-',
    experiment.verdict ?? '-',
    experiment.price_usdc ?? '-',
    experiment.description,
  ]);
  output.say(
    rows.length > 0
      ? formatTable([['EXPERIMENT', 'STATE', 'VAL_BPB', 'VERDICT', 'USDC', 'DESCRIPTION'], ...rows])
      : 'There are no experiments yet.',
  );
  return 0;
}

/** `leaderboard`. */
export async function runLeaderboard(limit: number, output: Output): Promise<number> {
  const board = await withCoordinator((coordinator) => coordinator.leaderboard({ scope: 'variants', limit }));
  output.emit(board);
  const rows = board.standings.flatMap((row) =>
    'experiment_id' in row
      ? [
          [
            String(row.rank),
            row.val_bpb.toFixed(6),
            row.verdict ?? '-',
            row.experiment_id,
            row.worker_endpoint ?? '-',
            row.description,
          ],
        ]
      : [],
  );
  output.say(
    rows.length > 0
      ? formatTable([['#', 'VAL_BPB', 'VERDICT', 'EXPERIMENT', 'WORKER', 'DESCRIPTION'], ...rows])
      : 'Nothing has a score yet.',
  );
  if (board.sparkline !== '') output.say(`Scores in order: ${board.sparkline}`);
  output.say(`Records: ${board.results_path}`);
  if (board.chart_path !== undefined) output.say(`Chart: ${board.chart_path}`);
  return 0;
}

/** `wallet`: payer, balance, caps and spending. Exit code 1 without a wallet. */
export async function runWallet(output: Output): Promise<number> {
  const status = await withCoordinator((coordinator) => coordinator.status());
  const {
    payer,
    chain,
    balance_atomic,
    spent_atomic,
    spent_24h_atomic,
    reserved_atomic,
    left_24h_atomic,
    caps,
    next_step,
  } = status;
  output.emit({
    payer,
    chain,
    balance_atomic,
    spent_atomic,
    spent_24h_atomic,
    reserved_atomic,
    left_24h_atomic,
    caps,
    next_step,
  });
  const usd = (atomic: string) => `${formatUsd(BigInt(atomic))} USDC`;
  output.say(payer === undefined ? 'No wallet is configured.' : `Payer    ${payer} on ${chain}`);
  if (payer !== undefined)
    output.say(`Balance  ${balance_atomic === undefined ? `unknown (${status.health.rpc})` : usd(balance_atomic)}`);
  output.say(`Spent    ${usd(spent_atomic)}, of it ${usd(spent_24h_atomic)} within 24 hours`);
  output.say(`Reserved ${usd(reserved_atomic)}`);
  output.say(
    `Left     ${usd(left_24h_atomic)} of ${usd(caps.budget_24h_atomic)} per 24 hours; at most ${usd(caps.max_price_atomic)} per experiment`,
  );
  if (payer === undefined) output.note(next_step);
  return payer === undefined ? 1 : 0;
}
