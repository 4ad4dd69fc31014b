#!/usr/bin/env node
import { CoordinatorError } from './base/errors.ts';

/** Exit codes: 0 success, 1 the thing asked for did not succeed, 2 wrong usage or configuration. */
async function main(): Promise<number> {
  if (process.argv.length <= 2) {
    const { runServer } = await import('./commands/serve-stdio.ts');
    return runServer();
  }
  const { runCommand } = await import('./commands/program.ts');
  return runCommand(process.argv);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    const text =
      error instanceof CoordinatorError
        ? `${error.message} ${error.nextStep}`
        : String(error instanceof Error ? (error.stack ?? error.message) : error);
    process.stderr.write(`autoresearch-coordinator: ${text}\n`);
    process.exit(error instanceof CoordinatorError && error.code === 'bad_configuration' ? 2 : 1);
  },
);
