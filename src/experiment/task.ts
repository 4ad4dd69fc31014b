import { type Task, type TaskInput, TaskSchema } from './task-schema.ts';
import { KARPATHY } from './tasks/karpathy.ts';
import { TRAIN_NUMPY } from './tasks/train-numpy.ts';
import { TRAIN_STDLIB } from './tasks/train-stdlib.ts';

/** Any script that prints the metric: only rules that need no knowledge of a task can refuse it. */
export const UNKNOWN_TASK: Task = TaskSchema.parse({
  name: 'unknown',
  signature: { names: ['val_bpb'] },
  budgetRule: { kind: 'unknown', text: 'The script decides itself when it ends.' },
} satisfies TaskInput);

/** Tasks that come with the program. */
export const READY_TASKS: readonly Task[] = [KARPATHY, TRAIN_NUMPY, TRAIN_STDLIB].map((task) => TaskSchema.parse(task));

/** Whether rules that need knowledge of the task apply. */
export function isKnown(task: Task): boolean {
  return task.name !== UNKNOWN_TASK.name;
}

/**
 * Recognises the task of a lineage from its first source, by names and structure: an edited copy is still the same task.
 * @param tasks the operator's own before the ready ones
 */
export function findTask(rootSource: string, tasks: readonly Task[] = READY_TASKS): Task {
  return tasks.find(({ signature }) => hasSignature(rootSource, signature)) ?? UNKNOWN_TASK;
}

function hasSignature(source: string, { names, knobs, atLeast }: Task['signature']): boolean {
  const occurs = (name: string) => new RegExp(`(?<![\\w.])${name.replaceAll('.', '\\.')}(?!\\w)`).test(source);
  const isAssigned = (name: string) => new RegExp(`^${name}\\s*(?::[^=\\n]+)?=(?!=)`, 'm').test(source);
  return names.every(occurs) && knobs.filter(isAssigned).length >= atLeast;
}
