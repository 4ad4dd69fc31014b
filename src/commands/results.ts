import type { Coordinator } from '../coordinator.ts';
import { formatTable, type Output } from './output.ts';
import { withCoordinator } from './with-coordinator.ts';

/** `experiments [id]`. */
export async function runExperiments(
  id: string | undefined,
  { limit, search }: { readonly limit: number; readonly search?: string | undefined },
  output: Output,
): Promise<number> {
  if (id !== undefined) {
    const experiment = await withCoordinator((coordinator) => coordinator.getExperiment(id, 0, {}));
    output.emit(experiment);
    for (const [name, value] of Object.entries(experiment))
      output.say(`${name}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
    return 0;
  }
  const experiments = await withCoordinator((coordinator) => coordinator.listExperiments(limit, search));
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
      : search === undefined
        ? 'There are no experiments yet.'
        : 'No experiment holds all of these words.',
  );
  return 0;
}

export type Scope = 'variants' | 'workers' | 'agents' | 'global';

/** `leaderboard`. */
export async function runLeaderboard(scope: Scope, limit: number, output: Output): Promise<number> {
  const board = await withCoordinator((coordinator) =>
    coordinator.leaderboard({ scope, limit, response_format: 'detailed' }),
  );
  output.emit(board);
  const { head, cells, empty } = TABLES[scope];
  const rows = board.standings.map((row) => [String(row.rank), ...cells(row)]);
  output.say(rows.length > 0 ? formatTable([['#', ...head], ...rows]) : empty);
  if ('rejected' in board) {
    for (const [worker, reason] of Object.entries(board.rejected)) output.note(`not believed, ${reason}: ${worker}`);
    output.say(board.next_step);
  }
  if ('results_path' in board) {
    if (board.sparkline !== '') output.say(`Scores in order: ${board.sparkline}`);
    output.say(`Records: ${board.results_path}`);
    if (board.chart_path !== undefined) output.say(`Chart: ${board.chart_path}`);
  }
  return 0;
}

type Row = Awaited<ReturnType<Coordinator['leaderboard']>>['standings'][number];

interface ScopeTable {
  readonly head: readonly string[];
  readonly cells: (row: Row) => readonly string[];
  readonly empty: string;
}

const showScore = (valBpb: number | undefined) => valBpb?.toFixed(6) ?? '-';

const TABLES: Readonly<Record<Scope, ScopeTable>> = {
  variants: {
    head: ['VAL_BPB', 'RUNS', 'VERDICT', 'EXPERIMENT', 'WORKER', 'DESCRIPTION'],
    cells: (row) => [
      showScore(row.val_bpb),
      String(row.runs ?? 1),
      row.verdict ?? '-',
      row.experiment_id ?? '-',
      row.worker_endpoint ?? '-',
      row.description ?? '',
    ],
    empty: 'Nothing has a score yet.',
  },
  workers: {
    head: ['BEST VAL_BPB', 'SCORED', 'RUNS', 'USDC', 'WORKER'],
    cells: (row) => [
      showScore(row.val_bpb),
      String(row.scored ?? 0),
      String(row.runs ?? 0),
      row.spent_usdc ?? '-',
      row.worker_endpoint ?? '-',
    ],
    empty: 'No worker was used yet.',
  },
  agents: {
    head: ['BEST VAL_BPB', 'KEPT', 'SCORED', 'RUNS', 'AGENT'],
    cells: (row) => [
      showScore(row.val_bpb),
      String(row.kept ?? 0),
      String(row.scored ?? 0),
      String(row.runs ?? 0),
      row.agent ?? '-',
    ],
    empty: 'No experiment names an agent yet.',
  },
  global: {
    head: ['ITS CLAIM', 'OUR MEDIAN', 'OUR RUNS', 'UPDATED', 'WORKER'],
    cells: (row) => [
      showScore(row.self_reported_val_bpb),
      showScore(row.own_median_val_bpb),
      String(row.scored ?? 0),
      row.updated ?? '-',
      row.worker_endpoint ?? row.worker_id ?? '-',
    ],
    empty: 'No worker claims a score.',
  },
};
