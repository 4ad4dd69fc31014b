import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { startGuarded } from './guarded-process.ts';
import type { Guardian } from './guardian.ts';

export interface TrainingOrder {
  readonly python: string;
  /** The experiment's own folder; made here, must not exist. */
  readonly folder: string;
  readonly experimentId: string;
  readonly trainPy: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Wall time that the run may take. */
  readonly timeoutSeconds: number;
  /** Address space per process, in MiB. */
  readonly memoryLimitMb: number;
  /** Ends the run early. */
  readonly signal: AbortSignal;
}

export interface TrainingOutcome {
  readonly status: 'completed' | 'failed' | 'timeout';
  readonly returnCode: number;
  /** The last part of standard output. */
  readonly stdout: string;
  readonly note: string | null;
  readonly logPath: string;
}

/** Kept of each stream: a run that prints without end must not fill memory; the summary is at the end. */
const OUTPUT_TAIL_BYTES = 1_048_576;

/** Runs one train.py in a fresh folder, with a time and a memory limit and next to no environment. */
export async function runTraining(guardian: Guardian, order: TrainingOrder): Promise<TrainingOutcome> {
  const workFolder = join(order.folder, 'work');
  const configPath = join(order.folder, 'config.json');
  const logPath = join(order.folder, 'run.log');
  mkdirSync(order.folder);
  mkdirSync(workFolder);
  writeFileSync(join(workFolder, 'train.py'), order.trainPy);
  writeFileSync(configPath, JSON.stringify(order.config));

  const child = startGuarded(guardian, {
    command: order.python,
    args: ['train.py'],
    cwd: workFolder,
    env: {
      PATH: process.env.PATH ?? '/usr/bin:/bin',
      HOME: workFolder,
      TMPDIR: workFolder,
      LANG: 'C.UTF-8',
      // Otherwise a killed run loses what it had printed.
      PYTHONUNBUFFERED: '1',
      AUTORESEARCH_EXPERIMENT_ID: order.experimentId,
      AUTORESEARCH_EXPERIMENT_DIR: order.folder,
      AUTORESEARCH_EXPERIMENT_CONFIG: configPath,
    },
    memoryLimitMb: order.memoryLimitMb,
  });
  let isTimeout = false;
  const timer = setTimeout(() => {
    isTimeout = true;
    child.kill();
  }, order.timeoutSeconds * 1_000);
  order.signal.addEventListener('abort', child.kill, { once: true });
  const [stdout, stderr] = [keepTail(child.stdout), keepTail(child.stderr)];
  const { exitCode } = await child.ended;
  clearTimeout(timer);
  order.signal.removeEventListener('abort', child.kill);
  if (!order.signal.aborted) writeFileSync(logPath, `${stdout()}\n--- stderr ---\n${stderr()}`);
  return { ...judgeEnd(isTimeout, exitCode, order.timeoutSeconds), stdout: stdout(), logPath };
}

function judgeEnd(isTimeout: boolean, exitCode: number | null, timeoutSeconds: number) {
  if (isTimeout) {
    return { status: 'timeout', returnCode: -1, note: `experiment exceeded timeout of ${timeoutSeconds}s` } as const;
  }
  if (exitCode === 0) return { status: 'completed', returnCode: 0, note: null } as const;
  const note = exitCode === null ? 'command was killed by a signal' : `command exited with status ${exitCode}`;
  return { status: 'failed', returnCode: exitCode ?? -1, note } as const;
}

function keepTail(stream: Readable): () => string {
  let tail = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    tail += chunk;
    // Cut rarely: cutting on every chunk would copy the tail each time.
    if (tail.length > 2 * OUTPUT_TAIL_BYTES) tail = tail.slice(-OUTPUT_TAIL_BYTES);
  });
  return () => tail.slice(-OUTPUT_TAIL_BYTES);
}
