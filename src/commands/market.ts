import type { JsonObject } from '../base/json.ts';
import type { ExperimentView } from '../coordinator/experiment-view.ts';
import type { Coordinator } from '../coordinator.ts';
import { formatTable, type Output } from './output.ts';
import { readScript, withCoordinator } from './with-coordinator.ts';

/** `discover`: exit code 0 when at least one source answered. */
export async function runDiscover(limit: number, output: Output): Promise<number> {
  const found = await withCoordinator((coordinator) =>
    coordinator.discover({ limit, with_prices: true, response_format: 'detailed' }),
  );
  output.emit(found);
  const rows = found.workers.map((worker) => [
    worker.worker_endpoint ?? worker.worker_id ?? '-',
    worker.price_usdc === undefined ? (worker.price_problem ?? '?') : `${worker.price_usdc} USDC`,
    worker.health ?? '-',
    worker.identity,
    worker.untrusted_name ?? '-',
  ]);
  output.say(
    rows.length > 0
      ? formatTable([['WORKER', 'PRICE', 'HEALTH', 'IDENTITY', 'NAME (its words)'], ...rows])
      : 'No usable worker was found.',
  );
  for (const source of found.sources)
    if (!source.ok) output.note(`${source.source} could not be asked: ${source.error ?? 'unknown'}`);
  for (const [reason, count] of Object.entries(found.hidden)) output.note(`${count} hidden: ${reason}`);
  return found.sources.some(({ ok }) => ok) || found.workers.length > 0 ? 0 : 1;
}

/** `probe`: exit code 0 when there is a price within every cap, or none is asked. */
export async function runProbe(endpoint: string, output: Output): Promise<number> {
  const probe = await withCoordinator((coordinator) => coordinator.probe(endpoint));
  output.emit(probe);
  if ('free' in probe) output.say(`${probe.worker_endpoint} asks for no payment.`);
  else output.say(`${probe.worker_endpoint} asks ${probe.price_usdc} USDC on ${probe.network}, to ${probe.pay_to}.`);
  for (const warning of probe.warnings) output.note(`warning: ${warning}`);
  output.say(probe.next_step);
  return 'free' in probe || probe.within_budget ? 0 : 1;
}

/** `submit`: waits for the end; exit code 0 when the run gave a score that counts. */
export async function runSubmit(
  options: { endpoint: string; file: string; config: JsonObject | undefined },
  output: Output,
): Promise<number> {
  const train_py = readScript(options.file);
  const experiment = await withCoordinator(async (coordinator) => {
    const onProgress = (message: string) => output.note(message);
    const first = await coordinator.submit(
      { train_py, config: options.config, worker: options.endpoint, wait_seconds: 30 },
      { onProgress },
    );
    return followToEnd(coordinator, first, onProgress);
  });
  output.emit(experiment);
  output.say(experiment.summary);
  if (experiment.payment_tx !== undefined)
    output.say(`Paid ${experiment.price_usdc ?? '?'} USDC, transaction ${experiment.payment_tx}.`);
  output.say(experiment.next_step);
  return experiment.val_bpb === undefined ? 1 : 0;
}

async function followToEnd(
  coordinator: Coordinator,
  first: ExperimentView,
  onProgress: (message: string) => void,
): Promise<ExperimentView> {
  let experiment = first;
  while (!isOver(experiment))
    experiment = await coordinator.getExperiment(experiment.experiment_id, 30, { onProgress });
  return experiment;
}

function isOver({ state }: ExperimentView): boolean {
  return ['published', 'refused', 'failed', 'unpaid', 'lost', 'cancelled'].includes(state);
}
