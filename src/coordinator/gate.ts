import { InputError } from '../base/errors.ts';
import type { JsonObject } from '../base/json.ts';
import { describeOutcome, findDuplicate, findSimilar } from '../campaign/novelty.ts';
import type { Experiment } from '../experiment/experiment.ts';
import { assertPasses, checkVariant, formatFindings } from '../experiment/gate/gate.ts';
import { loadTask, saveTask } from '../experiment/lineage-task.ts';
import { findTask, isKnown } from '../experiment/task.ts';
import { readTaskFiles } from '../experiment/task-files.ts';
import type { Task } from '../experiment/task-schema.ts';
import type { Variant } from '../experiment/variant.ts';
import { findRoot } from '../experiment/variant-form.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Services } from './services.ts';

/** What a caller says about a variant that the gate or an earlier run has something against. */
export interface Insistence {
  readonly repeat?: boolean | undefined;
  readonly accept_warnings?: boolean | undefined;
}

/**
 * Holds a variant against the rules of its task before anything is written or paid.
 * @returns the warnings with which it passes
 * @throws InputError `gate_refused` or `gate_warned`
 */
export async function passGate(services: Services, variant: Variant, insists: Insistence): Promise<string[]> {
  const { db, scripts, clock } = services;
  const rootHash = await findRoot(db, variant);
  const rootSource = (await loadSource(db, rootHash)) ?? variant.source;
  const parentSource = await loadParent({ db }, variant);
  const own = findOwnTask(services, rootSource);
  const task = own ?? (await loadTask(db, rootHash));
  const report = await checkVariant(
    scripts,
    task,
    variant,
    parentSource === undefined ? null : { source: parentSource, config: variant.parentConfig ?? {} },
  );
  assertPasses(report, task, insists.accept_warnings ?? false);
  if (own) await saveTask(db, rootHash, own, clock.nowMs());
  return formatFindings(report.findings);
}

/** The operator's definition of a script's task, as its file says now; undefined where none recognises it. */
export function findOwnTask({ config }: Pick<Services, 'config'>, rootSource: string): Task | undefined {
  const task = findTask(rootSource, readTaskFiles(config.tasksFolder).tasks);
  return isKnown(task) ? task : undefined;
}

/** A source that ran before is its own parent: what is new about it is its config. */
async function loadParent({ db }: Pick<Services, 'db'>, variant: Variant): Promise<string | undefined> {
  if (variant.parentHash !== null) return loadSource(db, variant.parentHash);
  const ran = await db
    .selectFrom('experiments')
    .select('experiment_id')
    .where('train_hash', '=', variant.trainHash)
    .executeTakeFirst();
  return ran && variant.source;
}

/** Whether a program may be run as a variant of a parent without a word of warning. */
export async function isClean(
  { db, scripts }: Pick<Services, 'db' | 'scripts'>,
  rootHash: string,
  program: { source: string; config: JsonObject },
  parent: { source: string; config: JsonObject },
): Promise<boolean> {
  const task = await loadTask(db, rootHash);
  return (await checkVariant(scripts, task, program, parent)).verdict === 'ok';
}

/**
 * Looks for the same effective variant among claims, queues and results.
 * @returns an experiment that is at it right now: the answer to the call
 * @throws InputError `duplicate_variant` with what the earlier one gave
 */
export async function findRunning(
  { db, clock }: Services,
  variant: Variant,
  insists: Insistence,
): Promise<Experiment | null> {
  const same = insists.repeat ? null : await findDuplicate(db, variant, clock.nowMs());
  if (!same) return null;
  if (same.experiment && same.experiment.finishedAtMs === null && same.experiment.valBpb === null)
    return same.experiment;
  throw new InputError(
    'duplicate_variant',
    `The same variant ${describeOutcome(same)}. Nothing was submitted.`,
    'Use what it gave, or send repeat: true to run it once more, which tells how noisy the score is.',
  );
}

/** Earlier experiments that are much like a variant, one line each: worth knowing, no reason to refuse it. */
export async function listSimilar({ db }: Services, variant: Variant): Promise<string[]> {
  const similar = await findSimilar(db, variant, await findRoot(db, variant));
  return similar.map(({ experiment, because }) => {
    const outcome = describeOutcome({ experiment, claim: null });
    return `${experiment.description} ${outcome}: ${because}`;
  });
}
