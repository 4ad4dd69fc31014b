import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { UNKNOWN_TASK } from './task.ts';
import { type Task, TaskSchema } from './task-schema.ts';

/** A file that is no task definition, and why. */
export interface TaskFault {
  readonly file: string;
  /** Path of the field inside the file; null where the whole file is meant. */
  readonly field: string | null;
  readonly reason: string;
}

/** An operator's own tasks. */
export interface TaskFiles {
  /** In the order of their file names: the first that recognises a script is its task. */
  readonly tasks: readonly Task[];
  readonly faults: readonly TaskFault[];
}

/** Larger than the rules of any honest script. */
const MAX_BYTES = 256 * 1024;
const MAX_FILES = 100;

/** What the schema allows and nothing here can judge by: better refused than ignored. */
const TaskFile = TaskSchema.extend({
  metric: z.literal('val_bpb', 'only val_bpb is read from workers').default('val_bpb'),
  direction: z.literal('lower', 'only lower is judged').default('lower'),
})
  .refine(({ name }) => name !== UNKNOWN_TASK.name, { path: ['name'], error: 'this name stands for no task at all' })
  .refine(({ plausible: { min, max } }) => min < max, { path: ['plausible'], error: 'min is not below max' });

/**
 * Reads every `*.json` of a folder as a task definition; files that are none stop no other.
 * @param folder undefined: the operator has none
 */
export function readTaskFiles(folder: string | undefined): TaskFiles {
  if (folder === undefined) return { tasks: [], faults: [] };
  const tasks: Task[] = [];
  const faults: TaskFault[] = [];
  const names = listFiles(folder);
  if (typeof names === 'string') return { tasks, faults: [{ file: folder, field: null, reason: names }] };
  for (const file of names.slice(0, MAX_FILES)) {
    const read = readTaskFile(folder, file);
    const isTaken = 'name' in read && tasks.some(({ name }) => name === read.name);
    if (!('name' in read)) faults.push(read);
    else if (isTaken)
      faults.push({ file, field: 'name', reason: `another file has ${JSON.stringify(read.name)} already` });
    else tasks.push(read);
  }
  if (names.length > MAX_FILES)
    faults.push({ file: folder, field: null, reason: `of ${names.length} files the first ${MAX_FILES} are read` });
  return { tasks, faults };
}

/** One line that names file and field. */
export function formatTaskFault({ file, field, reason }: TaskFault): string {
  return `${file}${field === null ? '' : `, field ${field}`}: ${reason}`;
}

/** Names of the files, or why there are none. */
function listFiles(folder: string): string[] | string {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
    return names.toSorted();
  } catch (error) {
    return `the folder cannot be read (${codeOf(error)})`;
  }
}

function readTaskFile(folder: string, file: string): Task | TaskFault {
  const fault = (reason: string, field: string | null = null): TaskFault => ({ file, field, reason });
  let text = '';
  try {
    const path = join(folder, file);
    const { size } = statSync(path);
    if (size > MAX_BYTES) return fault(`it has ${size} bytes, at most ${MAX_BYTES} are read`);
    // Editors of some systems put a byte order mark first.
    text = readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    return fault(`it cannot be read (${codeOf(error)})`);
  }
  const parsed = TaskFile.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (parseJson(text) === undefined || issue === undefined) return fault('it is not JSON');
  return fault(issue.message, issue.path.join('.') || null);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
}
