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
