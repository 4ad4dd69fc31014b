import type { Experiment } from '../experiment/experiment.ts';
import { VERDICTS_THAT_COUNT } from '../leaderboard/standings.ts';
import type { Db } from '../store/database.ts';

/** How a worker did with one paid experiment, in points from 0 to 100, or why that cannot be said. */
export type Rating =
  | { readonly kind: 'rated'; readonly value: 0 | 100; readonly because: string }
  | { readonly kind: 'undecided'; readonly because: string };

/** Answers that are no result of the run that was paid for. */
const USELESS_ANSWERS: readonly string[] = [
  'result_not_json',
  'result_not_an_object',
  'result_foreign_experiment',
  'result_foreign_hash',
];

/**
 * Derives a rating from what became of a settled experiment. A worker is rated for its own part alone: a result that
 * counts is 100; a paid run without any result of it is 0. A script that failed says nothing of its worker, unless the
 * same variant gave a score elsewhere; nor does a score that is too good to be believed yet.
 */
export async function rateOutcome(db: Db, experiment: Experiment): Promise<Rating> {
  const { state, judgement, reason } = experiment;
  switch (state) {
    case 'lost':
      return { kind: 'rated', value: 0, because: 'the run was paid and its result never came' };
    case 'published':
      if (judgement && VERDICTS_THAT_COUNT.includes(judgement.verdict))
        return { kind: 'rated', value: 100, because: 'the run was paid and gave a result that counts' };
      if (reason && USELESS_ANSWERS.includes(reason.code))
        return { kind: 'rated', value: 0, because: 'the run was paid, and what came back is no result of it' };
      return {
        kind: 'undecided',
        because: `its verdict ${judgement?.verdict ?? 'is missing'} is no evidence for or against the worker`,
      };
    case 'failed':
      return rateFailure(db, experiment);
    default:
      return { kind: 'undecided', because: `an experiment that is ${state} says nothing of its worker` };
  }
}

async function rateFailure(db: Db, experiment: Experiment): Promise<Rating> {
  const { reason, result, variantHash, workerEndpoint } = experiment;
  if (reason?.code === 'job_failed')
    return { kind: 'rated', value: 0, because: 'the worker was paid for a request that failed at its side' };
  if (result?.status !== 'failed')
    return { kind: 'undecided', because: 'a script that hits the time limit is no evidence against the worker' };
  const elsewhere = await db
    .selectFrom('experiments')
    .select('experiment_id')
    .where('variant_hash', '=', variantHash)
    .where('worker_endpoint', '!=', workerEndpoint)
    .where('verdict', 'in', [...VERDICTS_THAT_COUNT])
    .executeTakeFirst();
  return elsewhere
    ? {
        kind: 'rated',
        value: 0,
        because: `the run was paid and failed, while the same script ran elsewhere (${elsewhere.experiment_id})`,
      }
    : { kind: 'undecided', because: 'a script that fails is no fault of its worker as long as it ran nowhere else' };
}
