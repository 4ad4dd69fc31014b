/**
 * THINK and the rankings over a store of many experiments: `npm run bench:think -- [experiments]`. All belong to one
 * script, in loops as long as they may get; THINK is asked for the newest.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { sha256 } from '../src/base/hash.ts';
import { createLog } from '../src/commands/context.ts';
import { readConfig } from '../src/config.ts';
import { hasOpenWork } from '../src/coordinator/open-work.ts';
import { Coordinator } from '../src/coordinator.ts';
import { type Db, openDatabase } from '../src/store/database.ts';

const COUNT = Number(process.argv[2] ?? 1_000_000);
const TRIES = 9;
/** A thousand rounds and as many runs beside them. */
const LOOP_RUNS = 2_000;
const LOOPS = Math.ceil(COUNT / LOOP_RUNS);
const NEWEST_LOOP = loopId(LOOPS - 1);

function loopId(index: number): string {
  return `loop-20261126-${index.toString(16).padStart(16, '0')}`;
}

const SOURCE = readFileSync(new URL('../src/localnet/examples/train_stdlib.py', import.meta.url), 'utf8');
const ROOT = sha256(SOURCE);
const START_MS = 1_790_000_000_000;

const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));
try {
  const db = await openDatabase(dataDir);
  const seededMs = performance.now();
  await seed(db);
  process.stdout.write(`seeded ${COUNT} experiments in ${((performance.now() - seededMs) / 1000).toFixed(0)} s\n`);
  await db.destroy();
  await measure();
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}

async function measure(): Promise<void> {
  const config = readConfig({
    DATA_DIR: dataDir,
    ERPC_URL: 'http://127.0.0.1:9',
    AUTORESEARCH_ALLOW_HTTP_HOSTS: '127.0.0.1',
  });
  const coordinator = new Coordinator({ config, version: 'bench', log: createLog('error'), runnerCommand: [] });
  const questions = {
    think: () => coordinator.think(NEWEST_LOOP, null, null),
    'leaderboard of variants': () => coordinator.leaderboard({ scope: 'variants', limit: 20 }),
    'leaderboard of workers': () => coordinator.leaderboard({ scope: 'workers', limit: 20 }),
    'leaderboard of agents': () => coordinator.leaderboard({ scope: 'agents', limit: 20 }),
    'search for two words': () =>
      coordinator.leaderboard({ scope: 'experiments', search: 'DISCOUNT discard', limit: 20 }),
    status: () => coordinator.status(),
    'newest experiments': () => coordinator.listExperiments(20),
  };
  const lookedMs = performance.now();
  await hasOpenWork(dataDir, 'first');
  process.stdout.write(
    `looked for open work, as every start does, in ${(performance.now() - lookedMs).toFixed(0)} ms\n`,
  );
  const openedMs = performance.now();
  await coordinator.services();
  process.stdout.write(`opened in ${(performance.now() - openedMs).toFixed(0)} ms\n`);
  for (const [name, ask] of Object.entries(questions)) {
    const times: number[] = [];
    for (let index = 0; index < TRIES; index += 1) {
      const startedMs = performance.now();
      await ask();
      times.push(performance.now() - startedMs);
    }
    const [first = 0] = times;
    const median = times.toSorted((a, b) => a - b)[Math.floor(TRIES / 2)] ?? 0;
    process.stdout.write(`${name}: median ${median.toFixed(1)} ms, first ${first.toFixed(1)} ms\n`);
  }
  process.stdout.write(`think has ${(await coordinator.think(NEWEST_LOOP, null, null)).length} characters\n`);
  await coordinator.close();
}

/** Rows as a long life leaves them, made by the database itself: a million inserts one by one take an hour. */
async function seed(db: Db): Promise<void> {
  await db.insertInto('sources').values({ train_hash: ROOT, source: SOURCE, created_at: START_MS }).execute();
  const settings = {
    rounds: 1_000,
    budgetAtomic: '90000000000',
    maxPriceAtomic: '250000',
    parallel: 4,
    prefer: null,
    agent: null,
  };
  for (let index = 0; index < LOOPS; index += 1) {
    await db
      .insertInto('loops')
      .values({
        loop_id: loopId(index),
        state: 'needs_proposals',
        root_hash: ROOT,
        settings: JSON.stringify(settings),
        queue: '[]',
        created_at: START_MS + index,
        updated_at: START_MS,
      })
      .execute();
  }
  const judgement = JSON.stringify({
    verdict: 'DISCARD',
    because: 'x',
    championId: null,
    delta: -0.01,
    sigma: 0.0005,
    z: -14,
  });
  const consent = JSON.stringify({ upfront: false, overlap: false, shortTimeout: false });
  const numbers = sql`with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ${COUNT})`;
  const id = sql`printf('exp-20261126-%016x', i)`;
  const loop = sql`printf('loop-20261126-%016x', i / ${LOOP_RUNS})`;
  const isFirst = sql`i % ${LOOP_RUNS} = 0`;
  const worker = sql`printf('https://worker-%d.example/run', i % 200)`;
  await sql`insert into experiments (experiment_id, idempotency_key, state, settlement, train_hash, variant_hash, config,
      root_hash, description, hypothesis, agent, worker_request, max_price, consent, loop_id, role, round, worker_endpoint, attempt,
      val_bpb, verdict, judgement, lease_until, epoch, avoid, created_at, updated_at, finished_at)
    ${numbers} select ${id}, ${id}, 'published', 'settled', ${ROOT}, case when ${isFirst} then ${ROOT} else printf('sha256:%064x', i) end, '{}',
      ${ROOT}, printf('MAX_ORDER 4 → %d, DISCOUNT 0.75 → 0.%02d', i % 9, i % 97), null, printf('agent-%d', i % 20), 'auto', 250000, ${consent},
      ${loop}, case when ${isFirst} then 'baseline' when i % 2 = 0 then 'round' else 'audit' end,
      case when i % 2 = 0 then i % ${LOOP_RUNS} end, ${worker}, 1,
      case when i % 11 = 10 and not ${isFirst} then null else 1.6 + (i * 7919 % 100000) / 1000000.0 end,
      case when ${isFirst} then 'BASELINE' when i % 11 = 10 then 'FAILED' when i % 67 = 0 then 'KEEP' else 'DISCARD' end,
      ${judgement}, 0, 0, '{}', ${START_MS} + i * 10, ${START_MS} + i * 10, ${START_MS} + i * 10 from n`.execute(db);
  await sql`insert into attempts (experiment_id, attempt, worker_endpoint, chain_id, value, terms, state, sends, created_at, updated_at)
    ${numbers} select ${id}, 1, ${worker}, 8453, 50000, '{}', 'settled', 1, ${START_MS} + i, ${START_MS} + i from n`.execute(
    db,
  );
  await sql`insert into ledger (experiment_id, attempt, loop_id, amount, state, created_at, updated_at)
    ${numbers} select ${id}, 1, ${loop}, 50000, 'spent', ${START_MS} + i, ${START_MS} + i from n`.execute(db);
  await sql`insert into titles (scope, seq, root_hash, experiment_id, variant_hash, verified, cause, created_at)
    ${numbers} select ${loop}, 1, ${ROOT}, ${id}, ${ROOT}, 0, 'baseline', ${START_MS} from n where ${isFirst}`.execute(
    db,
  );
}
