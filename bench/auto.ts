/**
 * A whole campaign without a model: `run_loop` in mode auto takes an example job from its baseline to its goal on the
 * local network, through a real client, with real payments: `npm run bench:auto -- [rounds] [parallel] [workers]`.
 * Exit code 1 when the goal is missed or when the books and the chain differ.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { parseAbiItem } from 'viem';
import * as z from 'zod';
import { atomicUsdc, formatUsd } from '../src/base/money.ts';
import { sleep } from '../src/base/time.ts';
import { createLocalClient } from '../src/localnet/chain.ts';
import { type Localnet, startLocalnet } from '../src/localnet/localnet.ts';

const ROUNDS = Number(process.argv[2] ?? 20);
const PARALLEL = Number(process.argv[3] ?? 2);
const WORKERS = Number(process.argv[4] ?? 3);
/** Where the text that the script trains on is known; elsewhere the same share of the baseline is the goal. */
const KNOWN_BASELINE = 1.71907;
const KNOWN_GOAL = 1.65;
const GOAL_SHARE = 0.96;
/** Nothing may hang: a guard, not a measurement. */
const GUARD_MS = 600_000;

const Loop = z.looseObject({
  loop_id: z.string(),
  state: z.string(),
  summary: z.string(),
  rounds_done: z.number(),
  extra_runs: z.number(),
  best: z.object({ experiment_id: z.string(), val_bpb: z.number(), verified: z.boolean() }).optional(),
  baseline_val_bpb: z.number().optional(),
  results: z.array(
    z.looseObject({ description: z.string(), val_bpb: z.number().optional(), verdict: z.string().optional() }),
  ),
});
type Loop = z.infer<typeof Loop>;
const Status = z.looseObject({ spent_atomic: z.string(), reserved_atomic: z.string() });

/** Every payment of the payer, as the chain has it, atomic USDC. */
async function readPayments({ rpcUrl, usdc, payer }: Localnet): Promise<bigint[]> {
  const event = parseAbiItem('event Transfer(address indexed from, address indexed to, uint256 value)');
  const logs = await createLocalClient(rpcUrl).getLogs({
    address: usdc,
    event,
    args: { from: payer },
    fromBlock: 0n,
    strict: true,
  });
  return logs.map(({ args }) => args.value);
}

/** Plays a whole loop; a line for each result when it is over. */
async function play(client: Client): Promise<{ loop: Loop; status: z.infer<typeof Status> }> {
  const call = async <T>(schema: z.ZodType<T>, name: string, args: Record<string, unknown>) => {
    const { structuredContent, content } = await client.callTool({ name, arguments: args });
    if (structuredContent === undefined) throw new Error(JSON.stringify(content));
    return schema.parse(structuredContent);
  };
  const script = readFileSync(new URL('../src/localnet/examples/train_stdlib.py', import.meta.url), 'utf8');
  let loop = await call(Loop, 'run_loop', {
    action: 'start',
    train_py: script,
    mode: 'auto',
    rounds: ROUNDS,
    parallel: PARALLEL,
    wait_seconds: 30,
  });
  const deadlineMs = performance.now() + GUARD_MS;
  while (loop.state === 'running' && performance.now() < deadlineMs)
    loop = await call(Loop, 'run_loop', { action: 'status', loop_id: loop.loop_id, wait_seconds: 30 });
  // A payment may settle after the result that it bought.
  for (;;) {
    const status = await call(Status, 'get_status', {});
    if (status.reserved_atomic === '0' || performance.now() > deadlineMs) return { loop, status };
    await sleep(200);
  }
}

const dataDir = mkdtempSync(join(tmpdir(), 'autoresearch-bench-'));
const network = await startLocalnet({ workers: WORKERS });
const transport = new StdioClientTransport({
  command: process.execPath,
  args: [fileURLToPath(new URL('../dist/cli.js', import.meta.url))],
  env: {
    ...network.env,
    PATH: process.env.PATH ?? '',
    DATA_DIR: dataDir,
    AUTORESEARCH_RUNNER_IDLE: '1',
    LOG_LEVEL: 'error',
  },
  stderr: 'inherit',
});
const client = new Client({ name: 'bench', version: '1' });
try {
  await client.connect(transport);
  const startedMs = performance.now();
  const { loop, status } = await play(client);
  const seconds = (performance.now() - startedMs) / 1_000;
  const payments = await readPayments(network);
  const paid = payments.reduce((sum, value) => sum + value, 0n);
  const { baseline_val_bpb: baseline = Number.NaN, best, results } = loop;
  const goal = baseline === KNOWN_BASELINE ? KNOWN_GOAL : baseline * GOAL_SHARE;
  for (const { description, val_bpb, verdict } of results)
    process.stdout.write(`  ${val_bpb ?? '–'} ${verdict ?? ''} ${description}\n`);
  process.stdout.write(
    `${loop.state} after ${loop.rounds_done} rounds and ${loop.extra_runs} extra runs in ${seconds.toFixed(1)} s
${baseline} → ${best?.val_bpb} (${((best?.val_bpb ?? Number.NaN) / baseline).toFixed(4)}), ${best?.verified ? 'confirmed' : 'not confirmed'}; goal ${goal.toFixed(4)}
${formatUsd(atomicUsdc(BigInt(status.spent_atomic)))} USDC spent, ${payments.length} payments on the chain\n`,
  );
  const isReached = best !== undefined && best.val_bpb <= goal && loop.state === 'finished';
  const isPaidRight = BigInt(status.spent_atomic) === paid && status.reserved_atomic === '0';
  if (!isReached) process.stdout.write('MISSED: the goal was not reached\n');
  if (!isPaidRight)
    process.stdout.write(`MISSED: the books say ${status.spent_atomic} spent, ${status.reserved_atomic} held\n`);
  process.exitCode = isReached && isPaidRight ? 0 : 1;
} finally {
  await client.close();
  await network.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
