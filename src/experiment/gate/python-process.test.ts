import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PythonProcess } from './python-process.ts';
import { ScriptReader } from './script-reader.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'autoresearch-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** An interpreter that notes each start and answers so many questions before it ends. */
function writeInterpreter(answers: number): string {
  const program = join(folder, 'python');
  const answer = JSON.stringify({ program, facts: [{ fault: { line: 7, message: 'stand-in' }, statements: [] }] });
  const lines = Array(answers).fill(`read -r line || exit 0\nprintf '%s\\n' '${answer}'`);
  writeFileSync(program, `#!/bin/sh\necho start >> '${folder}/starts'\n${lines.join('\n')}\n`);
  chmodSync(program, 0o755);
  return program;
}

const countStarts = () => readFileSync(join(folder, 'starts'), 'utf8').trim().split('\n').length;

it('answers one question after the other, until it is ended', async () => {
  const python = new PythonProcess('python3');
  for (const source of ['a = 1', 'b = (']) {
    const answer = await python.ask(JSON.stringify([source]));
    expect(answer).toMatchObject({ kind: 'line', text: expect.stringMatching(/^\{"program": .*\}\n$/) });
  }
  expect(python.isAlive).toBe(true);
  python.end();
  expect(python.isAlive).toBe(false);
  expect(await python.ask('[]')).toEqual({ kind: 'ended', why: 'failed' });
});

it('says why it said nothing', async () => {
  expect(await new PythonProcess(join(folder, 'nothing')).ask('[]')).toEqual({ kind: 'ended', why: 'missing' });
  expect(await new PythonProcess('python3').ask('no JSON')).toEqual({ kind: 'ended', why: 'failed' });
  const old = join(folder, 'old');
  writeFileSync(old, '#!/bin/sh\nexit 3\n', { mode: 0o755 });
  expect(await new PythonProcess(old).ask('[]')).toEqual({ kind: 'ended', why: 'missing' });
});

it('is kept for the next script, and replaced when it is gone', async () => {
  const reader = new ScriptReader(writeInterpreter(2));
  const read = async (source: string) => (await reader.read([source]))[0]?.fault?.message;
  expect([await read('a = 1'), await read('a = 2')]).toEqual(['stand-in', 'stand-in']);
  expect(countStarts()).toBe(1);
  // It has ended; noticed in time or not, the script is read.
  expect(await read('a = 3')).toSatisfy((message) => message === 'stand-in' || message === undefined);
  expect(await read('a = 4')).toBe('stand-in');
  expect(countStarts()).toBe(2);
  reader.close();
});

it('keeps no process alive', async () => {
  const url = new URL('./script-reader.ts', import.meta.url).href;
  const code = `import { ScriptReader } from ${JSON.stringify(url)};
const [facts] = await new ScriptReader().read(['a = 1']);
console.log(facts.statements.length);`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', code];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 25_000 });
  expect(stdout).toBe('1\n');
});
