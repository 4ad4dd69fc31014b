import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** The built program, as `dist/cli.js` is built, in a folder of this test run. */
    cli: string;
  }
}

/**
 * Builds the program once for all test files, beside `dist/`: a build of somebody else would take the chunks away from
 * under a server in use.
 */
export default function setup(project: TestProject): () => void {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'autoresearch-test-'));
  execFileSync(process.execPath, ['.ci/build.mjs', `--outdir=${folder}`], { cwd: root, stdio: 'inherit' });
  project.provide('cli', join(folder, 'cli.js'));
  return () => rmSync(folder, { recursive: true, force: true });
}
