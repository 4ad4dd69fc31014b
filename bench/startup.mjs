// Start-up of the built server, beside an empty Node process and the least possible SDK server, in one run.
//
//   npm run bench:startup            15 runs of each, one line per programme, exit code 1 when a target is missed
//   npm run bench:startup -- --json  one object on one line
//
// Wall times on a shared machine vary by half; what decides is the CPU that a process itself used and the ratio
// between programmes that took turns.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';

const RUNS = 15;
const IDLE_BEFORE_MS = 3_000;
const IDLE_MS = 10_000;
/** Own CPU until the answer, beyond an empty process's; from the stack's measurements. */
const MAX_CPU_OVER_EMPTY_MS = 120;
const MAX_IDLE_RSS_MB = 80;
/** Medians of programmes that do the same still differ by this much on a busy machine. */
const RATIO_TOLERANCE = 1.05;
/** Linux counts a process's CPU in hundredths of a second (USER_HZ). */
const MS_PER_TICK = 10;

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const PROGRAMMES = {
  empty: ['-e', 'process.stdin.once("data", () => process.stdout.write("{\\"id\\":1,\\"result\\":{}}\\n"))'],
  bare: [here('bare-server.mjs')],
  ours: [here('../dist/cli.js')],
};
const INITIALIZE = {
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '0' } },
};

const isJson = process.argv.includes('--json');
const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));
// A node that refuses at once: no run waits for the network.
const env = {
  PATH: process.env.PATH,
  HOME: dataDir,
  DATA_DIR: dataDir,
  ERPC_URL: 'http://127.0.0.1:9',
  LOG_LEVEL: 'error',
};
try {
  process.exitCode = report(await measure());
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}

async function measure() {
  if (process.platform !== 'linux') throw new Error('CPU and memory are read from /proc, which only Linux has.');
  const starts = { empty: [], bare: [], ours: [] };
  // One of each unmeasured, so that no programme pays for cold disk caches.
  for (let run = -1; run < RUNS; run += 1) {
    for (const [name, args] of Object.entries(PROGRAMMES)) {
      const server = await start(args);
      if (run >= 0) starts[name].push({ wallMs: server.wallMs, cpuMs: server.cpuMs });
      await server.stop();
    }
  }
  return { starts, ...(await measureIdle()) };
}

/** Idle means: a store exists, the client has the tool list, nothing was called. */
async function measureIdle() {
  const status = { method: 'tools/call', params: { name: 'get_status', arguments: {} } };
  const first = await start(PROGRAMMES.ours);
  await first.request(status);
  await first.stop();

  const server = await start(PROGRAMMES.ours);
  const { tools } = await server.request({ method: 'tools/list', params: {} });
  await pause(IDLE_BEFORE_MS);
  const rssMb = readRssMb(server.pid);
  const cpuBeforeMs = readCpuMs(server.pid);
  await pause(IDLE_MS);
  const idleCpuMs = readCpuMs(server.pid) - cpuBeforeMs;
  await server.request(status);
  const rssAfterCallMb = readRssMb(server.pid);
  await server.stop();
  const toolTokens = Math.round(JSON.stringify(tools).length / 4);
  return { rssMb, rssAfterCallMb, idleCpuMs, toolTokens, tools: tools.length };
}

/** Starts a programme and waits for its first answer. */
async function start(args) {
  const startedMs = performance.now();
  const child = spawn(process.execPath, args, { env, cwd: tmpdir(), stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const waiting = new Map();
  let text = '';
  let nextId = 1;
  child.stdout.on('data', (chunk) => {
    text += chunk;
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      const { id, result } = JSON.parse(line);
      waiting.get(id)?.(result);
    }
  });
  const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  const request = (message) =>
    new Promise((resolve, reject) => {
      const id = nextId++;
      waiting.set(id, resolve);
      void ended.then((code) => reject(new Error(`${args[0]} ended with ${code} before it answered`)));
      send({ id, ...message });
    });
  await request(INITIALIZE);
  const wallMs = performance.now() - startedMs;
  const cpuMs = readCpuMs(child.pid);
  send({ method: 'notifications/initialized' });
  return {
    pid: child.pid,
    wallMs,
    cpuMs,
    request,
    stop: async () => {
      child.stdin.end();
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/**
 * CPU of all threads of a process so far, in milliseconds. The scheduler's own count is in nanoseconds; where a kernel
 * does not keep it, the ticks of stat have to do.
 */
function readCpuMs(pid) {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    const nanoseconds = tasks.map((task) =>
      Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]),
    );
    return nanoseconds.reduce((sum, spent) => sum + spent, 0) / 1e6;
  } catch {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [userTicks, systemTicks] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
      .map(Number);
    return (userTicks + systemTicks) * MS_PER_TICK;
  }
}

function readRssMb(pid) {
  const [, kb] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kb) / 1024;
}

function report({ starts, rssMb, rssAfterCallMb, idleCpuMs, toolTokens, tools }) {
  const [empty, bare, ours] = ['empty', 'bare', 'ours'].map((name) => summarize(starts[name]));
  const targets = {
    'median wall not above the bare server': ours.wallMedianMs <= bare.wallMedianMs * RATIO_TOLERANCE,
    [`own CPU at most ${MAX_CPU_OVER_EMPTY_MS} ms above an empty process`]:
      ours.cpuMedianMs - empty.cpuMedianMs <= MAX_CPU_OVER_EMPTY_MS,
    [`idle memory at most ${MAX_IDLE_RSS_MB} MB`]: rssMb <= MAX_IDLE_RSS_MB,
  };
  if (isJson) {
    process.stdout.write(
      `${JSON.stringify({ node: process.version, runs: RUNS, empty, bare, ours, rssMb, rssAfterCallMb, idleCpuMs, toolTokens, targets })}\n`,
    );
  } else {
    const row = (name, { wallMedianMs, wallMinMs, cpuMedianMs, cpuMinMs }) =>
      [
        name.padEnd(22),
        `${wallMedianMs.toFixed(0)}/${wallMinMs.toFixed(0)} ms`.padEnd(14),
        `${cpuMedianMs.toFixed(0)}/${cpuMinMs.toFixed(0)} ms`.padEnd(14),
        `× ${(wallMedianMs / bare.wallMedianMs).toFixed(2)} wall, × ${(cpuMedianMs / bare.cpuMedianMs).toFixed(2)} CPU`,
      ].join('');
    const lines = [
      `Node ${process.version}, ${RUNS} runs each in turn, spawn to the answer of initialize (median/min)`,
      `${''.padEnd(22)}${'wall'.padEnd(14)}${'own CPU'.padEnd(14)}against the bare server`,
      row('empty process', empty),
      row('bare SDK, five tools', bare),
      row('dist/cli.js', ours),
      `CPU above an empty process: bare ${(bare.cpuMedianMs - empty.cpuMedianMs).toFixed(0)} ms, ours ${(ours.cpuMedianMs - empty.cpuMedianMs).toFixed(0)} ms`,
      `Idle after ${IDLE_BEFORE_MS / 1000} s: ${rssMb.toFixed(1)} MB resident; CPU over the next ${IDLE_MS / 1000} s: ${idleCpuMs.toFixed(0)} ms`,
      `After a first get_status: ${rssAfterCallMb.toFixed(1)} MB resident`,
      `tools/list: ${tools} tools, about ${toolTokens} tokens (JSON length / 4)`,
      ...Object.entries(targets).map(([target, isMet]) => `${isMet ? 'met   ' : 'MISSED'} ${target}`),
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
  }
  return Object.values(targets).every(Boolean) ? 0 : 1;
}

function summarize(starts) {
  const wall = starts.map(({ wallMs }) => wallMs).sort((a, b) => a - b);
  const cpu = starts.map(({ cpuMs }) => cpuMs).sort((a, b) => a - b);
  const middle = Math.floor(starts.length / 2);
  return { wallMedianMs: wall[middle], wallMinMs: wall[0], cpuMedianMs: cpu[middle], cpuMinMs: cpu[0] };
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
