// Talks to the built program through the MCP Inspector's command line, as an independent client: the advertised schemas
// must be free of findings, and one of each kind of request must be answered. The Inspector (110 MB) comes from npm into
// a scratch folder, which goes away afterwards.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const INSPECTOR = '@modelcontextprotocol/inspector@2.12.0';

const server = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'autoresearch-inspector-'));
try {
  writeFileSync(join(scratch, 'package.json'), '{"private":true}');
  execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', INSPECTOR], { cwd: scratch });

  const list = ask('--method', 'tools/list', '--strict');
  assert.deepEqual(list.schemaFindings ?? [], [], 'the advertised schemas have findings');
  assert.ok(list.result.tools.length > 0, 'no tool is listed');
  say(`tools/list --strict: ${list.result.tools.length} tools, no findings`);

  const { result: board } = ask('--method', 'tools/call', '--tool-name', 'get_leaderboard', '--tool-arg', 'limit=1');
  assert.deepEqual(JSON.parse(board.content[0].text), board.structuredContent);
  say('tools/call get_leaderboard: the text mirrors structuredContent');

  const { result: prompt } = ask('--method', 'prompts/get', '--prompt-name', 'think');
  assert.match(prompt.messages[0].content.text, /\S/);
  say('prompts/get think: answered');

  const { result: resource } = ask('--method', 'resources/read', '--uri', 'autoresearch://leaderboard');
  assert.deepEqual(JSON.parse(resource.contents[0].text).standings, []);
  say('resources/read autoresearch://leaderboard: answered');
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** One request; the exit code of the Inspector is part of the check. */
function ask(...request) {
  const inspector = join(scratch, 'node_modules', '.bin', 'mcp-inspector');
  const settings = ['-e', `DATA_DIR=${scratch}`, '-e', 'LOG_LEVEL=error', '--format', 'json'];
  const text = execFileSync(inspector, ['--cli', process.execPath, server, ...settings, ...request], {
    cwd: scratch,
    encoding: 'utf8',
    env: { ...process.env, MCP_INSPECTOR_SECRET_STORE: 'memory' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(text);
}

function say(line) {
  process.stdout.write(`${line}\n`);
}
