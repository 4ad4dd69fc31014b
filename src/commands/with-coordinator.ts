import { readFileSync } from 'node:fs';
import { InputError } from '../base/errors.ts';
import { readConfig } from '../config.ts';
import type { Coordinator } from '../coordinator.ts';
import { createCoordinator, createLog } from './context.ts';

/** Runs something with a coordinator of its own and closes it afterwards. Logs quietly unless LOG_LEVEL is set. */
export async function withCoordinator<T>(action: (coordinator: Coordinator) => Promise<T>): Promise<T> {
  const config = readConfig({ ...process.env, LOG_LEVEL: process.env.LOG_LEVEL ?? 'warn' });
  const coordinator = createCoordinator(config, createLog(config.logLevel));
  try {
    return await action(coordinator);
  } finally {
    await coordinator.close();
  }
}

/**
 * Reads a script that a person names; unlike an agent's path it may lie anywhere.
 * @throws InputError when it cannot be read
 */
export function readScript(file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(file));
  } catch {
    throw new InputError(
      'bad_arguments',
      `${JSON.stringify(file)} cannot be read as UTF-8 text. Nothing was submitted.`,
      'Name a readable Python file.',
    );
  }
}
