import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { isRunnerAlive, loadRunnerLease } from '../store/runner-lease.ts';
import type { Services } from './services.ts';

/** A spawned runner needs this long at most to take its lease, in milliseconds; until then no second one is started. */
const STARTING_MS = 8_000;
/** How long after the end of a runner the next one is started at the earliest, in milliseconds. */
const RESTART_PAUSE_MS = 500;

/** Starts the runner of a data folder when there is work and none is alive. */
export class RunnerStarter {
  readonly #command: readonly string[];
  #startedAtMs = Number.NEGATIVE_INFINITY;

  /** @param command program and arguments that start a runner; its environment is this process's */
  constructor(command: readonly string[]) {
    this.#command = command;
  }

  /** Makes sure that somebody works on the store. The runner outlives this process. */
  async ensure({ db, clock, folder, log, config }: Services): Promise<void> {
    const lease = await loadRunnerLease(db);
    if (lease && isRunnerAlive(lease, clock.nowMs())) return;
    if (performance.now() - this.#startedAtMs < STARTING_MS) return;
    this.#startedAtMs = performance.now();
    const [program, ...args] = this.#command;
    if (program === undefined) return;
    const logFile = openSync(join(folder, 'runner.log'), 'a', 0o600);
    try {
      const child = spawn(program, args, {
        detached: true,
        stdio: ['ignore', 'ignore', logFile],
        env: { ...process.env, DATA_DIR: config.dataDir },
        // The host's working directory may vanish under a process that outlives it.
        cwd: folder,
      });
      child.on('error', (error) => log.error({ error }, 'the runner could not be started'));
      child.on('exit', () => {
        // One that is gone need not be waited for; one that dies at once is not started at every look either.
        this.#startedAtMs = performance.now() - STARTING_MS + RESTART_PAUSE_MS;
      });
      child.unref();
      log.info({ pid: child.pid }, 'runner started');
    } finally {
      closeSync(logFile);
    }
  }
}

/** The living runner's process id. */
export async function findRunnerPid({ db, clock }: Services): Promise<number | undefined> {
  const lease = await loadRunnerLease(db);
  return lease && isRunnerAlive(lease, clock.nowMs()) ? lease.pid : undefined;
}
