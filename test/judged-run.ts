// What tests and benches share that play the market of a loop: a worker's answer, judged and published in one step.
import { ruleOn } from '../src/campaign/ruling.ts';
import type { Experiment, Judgement } from '../src/experiment/experiment.ts';
import type { Db } from '../src/store/database.ts';
import type { RunResult } from '../src/worker/result.ts';

/** An honest worker's answer of one second. */
export function completeRun(valBpb: number, metrics: RunResult['metrics'] = null): RunResult {
  return { status: 'completed', returnCode: 0, valBpb, durationSeconds: 1, metrics, untrustedNote: null, flags: [] };
}

/**
 * Judges the answer of a worker by the real judge and publishes it, as the engine of experiments does.
 * @param wallSeconds between sending and the answer; null when the answer came another way
 */
export async function publishRun(
  db: Db,
  run: Experiment,
  endpoint: string,
  result: RunResult,
  nowMs: number,
  wallSeconds: number | null = 1,
): Promise<Judgement> {
  const { experimentId } = run;
  // What is read of the run while it is judged names its worker, too.
  await db
    .updateTable('experiments')
    .set({ worker_endpoint: endpoint })
    .where('experiment_id', '=', experimentId)
    .execute();
  const { judgement, enact } = await ruleOn(db, { ...run, workerEndpoint: endpoint }, result, wallSeconds, nowMs);
  await db.transaction().execute(async (trx) => {
    await trx
      .updateTable('experiments')
      .set({
        state: result.valBpb === null ? 'failed' : 'published',
        val_bpb: result.valBpb,
        verdict: judgement.verdict,
        judgement: JSON.stringify(judgement),
        finished_at: nowMs,
        updated_at: nowMs,
      })
      .where('experiment_id', '=', experimentId)
      .execute();
    await enact(trx);
  });
  return judgement;
}
