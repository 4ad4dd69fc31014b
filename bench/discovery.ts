/**
 * Discovery against real servers on loopback, beside the limit in the same process: the same requests without any of
 * discovery's work, all at once: `npm run bench:discovery`. Exit code 1 when a target is missed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Agent, request } from 'undici';
import { silentLog } from '../src/base/log.ts';
import { readConfig } from '../src/config.ts';
import { Coordinator } from '../src/coordinator.ts';
import { formatScene, hostOf, kindOf, type Scene } from './discovery-scene.ts';

const ROUNDS = 5;
const CACHED_CALLS = 50;
/** A limit that waits for the hanging ones measures its own patience. */
const LIMIT_GUARD_MS = 10_000;

interface Target {
  readonly name: string;
  readonly scene: Scene;
  readonly maxMs: number;
}

const sound = (count: number, delayMs: number): Scene => ({ count, delayMs, hangPercent: 0, garbagePercent: 0 });
const TARGETS: readonly Target[] = [
  { name: '20 workers at 50 ms', scene: sound(20, 50), maxMs: 200 },
  { name: '100 workers at 200 ms', scene: sound(100, 200), maxMs: 600 },
  {
    name: '1,000 workers at 50 ms, 5 % hang, 5 % garbage',
    scene: { count: 1_000, delayMs: 50, hangPercent: 5, garbagePercent: 5 },
    maxMs: 3_000,
  },
];
const MAX_CACHED_MS = 10;

const server = spawn(
  process.execPath,
  ['--import', 'tsx', fileURLToPath(new URL('discovery-servers.ts', import.meta.url))],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
const [line] = await once(createInterface(server.stdout), 'line');
const port = Number(line);
let isMissed = false;

function say(name: string, ms: readonly number[], maxMs: number, more: string): void {
  const sorted = ms.toSorted((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  const worst = sorted.at(-1) ?? Number.NaN;
  if (!(median <= maxMs)) isMissed = true;
  process.stdout.write(
    `${name}: median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms (target ${maxMs} ms${median <= maxMs ? '' : ', MISSED'})${more}\n`,
  );
}

function check(isRight: boolean, what: string): void {
  if (isRight) return;
  isMissed = true;
  process.stdout.write(`  WRONG: ${what}\n`);
}

/** The requests that no discovery can save: the list's pages, then of every sound worker its file, then its health. */
async function measureLimit(scene: Scene): Promise<number> {
  const dispatcher = new Agent({ connect: { timeout: 5_000 } });
  const get = async (url: string) => (await request(url, { dispatcher })).body.json();
  const path = formatScene(scene);
  const workers = Array.from({ length: scene.count }, (_, worker) => worker).filter(
    (worker) => kindOf(scene, worker) === 'sound',
  );
  const run = async () => {
    const startedMs = performance.now();
    for (let page = 1; (page - 1) * 100 < scene.count; page += 1)
      await get(`http://127.0.0.1:${port}/${path}/api/v1/public/agents?limit=100&page=${page}`);
    await Promise.all(
      workers.map(async (worker) => {
        const base = `http://${hostOf(worker)}:${port}/${path}/${worker}`;
        await get(`${base}/registration.json`);
        await get(`${base}/health`);
      }),
    );
    return performance.now() - startedMs;
  };
  await run();
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) times.push(await run());
  await dispatcher.destroy();
  return times.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? LIMIT_GUARD_MS;
}

async function measure({ name, scene, maxMs }: Target): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));
  const hosts = Array.from({ length: scene.count }, (_, worker) => hostOf(worker));
  const config = readConfig({
    DATA_DIR: dataDir,
    SCAN_API_URL: `http://127.0.0.1:${port}/${formatScene(scene)}/api/v1/public`,
    AUTORESEARCH_ALLOW_HTTP_HOSTS: hosts.join(','),
    ERPC_URL: 'http://127.0.0.1:1',
  });
  const coordinator = new Coordinator({ config, version: 'bench', log: silentLog, runnerCommand: [] });
  const limitMs = await measureLimit(scene);
  const hanging = hosts.filter((_, worker) => kindOf(scene, worker) === 'hangs').length;
  const garbage = hosts.filter((_, worker) => kindOf(scene, worker) === 'garbage').length;
  const discover = (more: { refresh?: boolean; cursor?: string }) => coordinator.discover({ limit: 100, ...more });
  await discover({});
  const times: number[] = [];
  const cpuBefore = process.cpuUsage();
  for (let round = 0; round < ROUNDS; round += 1) {
    const startedMs = performance.now();
    const found = await discover({ refresh: true });
    times.push(performance.now() - startedMs);
    check(found.total === scene.count - hanging - garbage, `${found.total} workers are listed`);
    // What hung since an earlier round has timed out by now.
    const silent = (found.hidden.pending ?? 0) + (found.hidden.timeout ?? 0);
    check(silent === hanging, `${silent} of ${hanging} are pending`);
    check((found.hidden.bad_body ?? 0) === garbage, `${found.hidden.bad_body ?? 0} of ${garbage} are bad_body`);
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  // On a busy machine the wall clock measures the others: the work itself stays the same.
  const cpuMs = (user + system) / 1_000 / ROUNDS;
  say(name, times, maxMs, `; the limit is ${limitMs.toFixed(1)} ms; ${cpuMs.toFixed(0)} ms of CPU each`);
  const cached: number[] = [];
  for (let call = 0; call < CACHED_CALLS; call += 1) {
    const startedMs = performance.now();
    const page = await discover({ cursor: String((call * 100) % scene.count) });
    cached.push(performance.now() - startedMs);
    check(page.sources[0]?.source === 'cache', `the page came from ${page.sources[0]?.source ?? 'nowhere'}`);
  }
  say(`  a page from the cache`, cached, MAX_CACHED_MS, '');
  await coordinator.close();
  rmSync(dataDir, { recursive: true, force: true });
}

try {
  for (const target of TARGETS) await measure(target);
} finally {
  server.stdin.end();
}
process.exitCode = isMissed ? 1 : 0;
