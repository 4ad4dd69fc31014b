import { execFile } from 'node:child_process';
import { isAbsolute } from 'node:path';
import { PythonMissingError } from './errors.ts';

// A cold interpreter on a slow disk takes seconds.
const START_TIMEOUT_MS = 15_000;

/**
 * Finds the interpreter behind a command. Version managers put scripts on PATH that need the user's home; runs do not
 * have it, so they are given the real program.
 * @throws PythonMissingError
 */
export function findPython(command: string): Promise<string> {
  const args = ['-c', 'import sys; assert sys.version_info >= (3, 6); print(sys.executable)'];
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: START_TIMEOUT_MS }, (error, stdout) => {
      const program = stdout.trim();
      if (error || !isAbsolute(program)) reject(new PythonMissingError(command));
      else resolve(program);
    });
  });
}
