import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { getAddress } from 'viem';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { Experiment, Lab, Loop, Quote, scoreScript } from './harness.ts';

const { PATH = '', HOME = '' } = process.env;
const HANG_GUARD_MS = 55_000;

let lab: Lab;
/** The environment that most commands share, as a person's shell has it. */
let env: Record<string, string>;
let scripts: string;

beforeAll(async () => {
  lab = await Lab.open([
    { priceAtomic: 30_000n, slowdownMs: 0 },
    { priceAtomic: 50_000n, slowdownMs: 0 },
  ]);
  const { LOG_LEVEL: _quiet, ...rest } = lab.createEnv();
  env = rest;
  scripts = lab.createFolder();
  writeFileSync(join(scripts, 'train.py'), scoreScript('1.5', 'from the shell'));
  writeFileSync(join(scripts, 'broken.py'), 'raise SystemExit(1)\n');
});

afterAll(async () => {
  await lab?.close();
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
function run(args: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { PATH, HOME, ...env, ...more }, timeout: HANG_GUARD_MS };
    const child = execFile(process.execPath, [lab.cli, ...args], options, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode ?? -1, stdout, stderr });
    });
    // The server is one of the commands: it ends with its input.
    child.stdin?.end();
  });
}

/** Runs a command with --json: one object on one line, and nothing else on stdout. */
async function runJson<T>(schema: z.ZodType<T>, args: readonly string[], more?: Readonly<Record<string, string>>) {
  const ended = await run([...args, '--json'], more);
  expect(ended.stdout, ended.stderr).toMatch(/^\{.*\}\n$/);
  return { ...ended, value: schema.parse(JSON.parse(ended.stdout)) };
}

const Refusal = z.object({ ok: z.literal(false), code: z.string(), error: z.string(), next_step: z.string() });
const Found = z.looseObject({
  workers: z.array(z.looseObject({ worker_endpoint: z.string(), price_usdc: z.string() })),
  sources: z.array(z.looseObject({ source: z.string(), ok: z.boolean() })),
  hidden: z.record(z.string(), z.number()),
});

describe('discover', () => {
  it('lists the workers with their prices, for people and for programs', async () => {
    const { code, value } = await runJson(Found, ['discover']);
    expect(code).toBe(0);
    expect(value.workers.map(({ price_usdc }) => price_usdc).toSorted()).toEqual(['0.03', '0.05']);
    const text = await run(['discover', '--limit', '1']);
    expect(text.code).toBe(0);
    expect(text.stdout.trimEnd().split('\n')).toHaveLength(2);
    expect(text.stdout).toContain('USDC');
  });

  it('fails when no source answers', async () => {
    const nowhere = { SCAN_API_URL: 'http://127.0.0.1:1/api', ERPC_URL: 'http://127.0.0.1:1/?network={network}' };
    const { code, value } = await runJson(Found, ['discover'], { ...nowhere, DATA_DIR: lab.createFolder() });
    expect(code).toBe(1);
    expect(value.workers).toEqual([]);
    expect(value.sources.some(({ ok }) => ok)).toBe(false);
  });
});

describe('probe', () => {
  it('shows the price of a worker and pays nothing', async () => {
    const balance = await lab.balance();
    const { workerEndpoint, payTo } = lab.worker(1);
    const { code, value } = await runJson(Quote, ['probe', workerEndpoint]);
    expect(code).toBe(0);
    expect(value).toMatchObject({ worker_endpoint: workerEndpoint, price_atomic: '50000', within_budget: true });
    expect(getAddress(value.pay_to)).toBe(getAddress(payTo));
    expect((await run(['probe', workerEndpoint])).stdout).toContain('0.05 USDC');
    expect(await lab.balance()).toBe(balance);
  });

  it('fails when the price is over a cap, and when nobody answers', async () => {
    const { workerEndpoint } = lab.worker(1);
    const dear = await runJson(Quote, ['probe', workerEndpoint], { AUTORESEARCH_MAX_PRICE: '0.04' });
    expect(dear).toMatchObject({ code: 1, value: { within_budget: false } });
    const { origin } = new URL(workerEndpoint);
    const gone = await runJson(Refusal, ['probe', 'http://127.0.0.1:1/services/autoresearch-worker'], {
      AUTORESEARCH_ALLOW_HTTP_HOSTS: `127.0.0.1:1,${new URL(origin).host}`,
    });
    expect(gone).toMatchObject({ code: 1, value: { code: 'connect_failed' } });
  });
});

describe('submit, experiments and leaderboard', () => {
  it('run a script, show it, and rank it', async () => {
    const file = join(scripts, 'train.py');
    const args = ['submit', lab.worker(0).workerEndpoint, file, '--config', '{"A": 1}'];
    const { code, value } = await runJson(Experiment, args);
    expect(code).toBe(0);
    expect(value).toMatchObject({ state: 'published', settlement: 'settled', val_bpb: 1.5, price_usdc: '0.03' });
    expect((await lab.readTransfer(value.payment_tx ?? '')).value).toBe(30_000n);

    // The same words again: the same experiment.
    const repeated = await run(args);
    expect(repeated).toMatchObject({ code: 0, stdout: expect.stringContaining(value.payment_tx ?? 'no transaction') });
    expect((await lab.transfers()).filter(({ value: paid }) => paid === 30_000n)).toHaveLength(1);

    const one = await runJson(Experiment, ['experiments', value.experiment_id]);
    expect(one).toMatchObject({
      code: 0,
      value: { experiment_id: value.experiment_id, val_bpb: 1.5, config: { A: 1 } },
    });
    expect((await run(['experiments', value.experiment_id])).stdout).toContain('config: {"A":1}');
    const all = await runJson(z.object({ experiments: z.array(Experiment) }), ['experiments']);
    expect(all.value.experiments.map(({ experiment_id }) => experiment_id)).toEqual([value.experiment_id]);
    expect((await run(['experiments'])).stdout).toContain(value.experiment_id);

    expect((await run(['experiments', '--search', 'published none'])).stdout).toContain('No experiment holds');
    expect((await run(['experiments', '--search', 'BASELINE'])).stdout).toContain(value.experiment_id);
    expect((await run(['leaderboard', '--scope', 'agents'])).stdout).toContain('No experiment names an agent');

    const Board = z.looseObject({
      standings: z.array(z.looseObject({ experiment_id: z.string() })),
      total: z.number(),
    });
    const board = await runJson(Board, ['leaderboard', '--limit', '5']);
    expect(board).toMatchObject({ code: 0, value: { total: 1, standings: [{ experiment_id: value.experiment_id }] } });
    expect((await run(['leaderboard'])).stdout).toContain('1.500000');
    expect((await run(['leaderboard', '--scope', 'workers'])).stdout).toContain('1.500000');
    const Claims = z.looseObject({
      scope: z.literal('global'),
      standings: z.array(z.looseObject({ rank: z.number() })),
    });
    expect((await runJson(Claims, ['leaderboard', '--scope', 'global'])).code).toBe(0);
    expect((await run(['leaderboard', '--scope', 'global'])).stdout).toMatch(/ITS CLAIM|No worker claims a score/);
  });

  it('choose a worker by themselves when told to', async () => {
    writeFileSync(join(scripts, 'auto.py'), scoreScript('1.6', 'any worker'));
    const { code, value } = await runJson(Experiment, ['submit', 'auto', join(scripts, 'auto.py')]);
    expect(code).toBe(0);
    expect(value.worker_endpoint).toBe(lab.worker(0).workerEndpoint);
  });

  it('fail when the script fails, and say so', async () => {
    const { code, value } = await runJson(Experiment, ['submit', 'auto', join(scripts, 'broken.py')]);
    expect(code).toBe(1);
    expect(value).toMatchObject({ state: 'failed', verdict: 'FAILED', settlement: 'settled' });
  });

  it('fail for what does not exist', async () => {
    const unknown = await runJson(Refusal, ['experiments', 'exp-20260101-0123456789abcdef']);
    expect(unknown).toMatchObject({ code: 1, value: { code: 'unknown_experiment' } });
    const noFile = await runJson(Refusal, ['submit', 'auto', join(scripts, 'nothing.py')]);
    expect(noFile).toMatchObject({ code: 2, value: { code: 'bad_arguments' } });
  });
});

describe('feedback', () => {
  const Feedback = z.looseObject({
    experiment_id: z.string(),
    state: z.string(),
    rating: z.number(),
    proof_of_payment: z.boolean(),
    chain_id: z.number(),
    to: z.string(),
    value: z.literal('0'),
    data: z.string(),
    gas_limit: z.string(),
    max_fee: z.string(),
    file: z.looseObject({ agentId: z.number() }),
    tx: z.string().optional(),
    next_step: z.string(),
  });

  it('shows what it would send, sends it once, and says so when asked again', async () => {
    writeFileSync(join(scripts, 'rated.py'), scoreScript('1.4', 'to be rated'));
    const paid = await runJson(Experiment, ['submit', lab.worker(0).workerEndpoint, join(scripts, 'rated.py')]);
    const id = paid.value.experiment_id;
    const dry = await runJson(Feedback, ['feedback', id]);
    expect(dry).toMatchObject({
      code: 0,
      value: {
        state: 'dry_run',
        rating: 100,
        proof_of_payment: true,
        chain_id: 84532,
        to: lab.network.reputationRegistry,
      },
    });
    expect(dry.value.file.agentId).toBe(Number(lab.worker(0).agentId));
    expect(await lab.countFeedback(lab.worker(0).agentId)).toBe(0);
    const text = await run(['feedback', id]);
    expect(text).toMatchObject({ code: 0, stdout: expect.stringContaining(dry.value.data.slice(0, 10)) });
    expect(text.stderr).toContain('--send');

    const sent = await runJson(Feedback, ['feedback', id, '--send']);
    expect(sent).toMatchObject({ code: 0, value: { state: 'confirmed', rating: 100 } });
    expect(sent.value.tx).toMatch(/^0x[0-9a-f]{64}$/);
    const again = await runJson(Feedback, ['feedback', id, '--send']);
    expect(again).toMatchObject({ code: 0, value: { state: 'confirmed', tx: sent.value.tx } });
    expect(await lab.countFeedback(lab.worker(0).agentId)).toBe(1);
  });

  it('fails with a code where there is nothing to be said', async () => {
    const unknown = await runJson(Refusal, ['feedback', 'exp-20260101-0123456789abcdef', '--send']);
    expect(unknown).toMatchObject({ code: 1, value: { code: 'unknown_experiment' } });
    const failed = await runJson(Experiment, ['submit', 'auto', join(scripts, 'broken.py')]);
    const undecided = await runJson(Refusal, ['feedback', failed.value.experiment_id, '--send']);
    expect(undecided).toMatchObject({ code: 1, value: { code: 'outcome_undecided' } });
  });
});

describe('wallet and doctor', () => {
  it('show payer, balance and caps', async () => {
    const Wallet = z.looseObject({ payer: z.string(), balance_atomic: z.string(), spent_atomic: z.string() });
    const { code, value } = await runJson(Wallet, ['wallet']);
    expect(code).toBe(0);
    expect(value).toMatchObject({ payer: lab.network.payer, balance_atomic: (await lab.balance()).toString() });
    expect((await run(['wallet'])).stdout).toContain(lab.network.payer);
  });

  it('fail without a key, and say what to do', async () => {
    const keyless = { AUTORESEARCH_PRIVATE_KEY_FILE: '', DATA_DIR: lab.createFolder() };
    const { code, stderr } = await run(['wallet'], keyless);
    expect(code).toBe(1);
    expect(stderr).toContain('AUTORESEARCH_PRIVATE_KEY_FILE');
  });

  it('fail with a key that cannot be read, and name the variable', async () => {
    const unreadable = { AUTORESEARCH_PRIVATE_KEY_FILE: '/dev/null/key', DATA_DIR: lab.createFolder() };
    const { code, stdout, stderr } = await run(['wallet'], unreadable);
    expect(code).toBe(1);
    expect(stdout).toContain('AUTORESEARCH_PRIVATE_KEY_FILE');
    expect(stderr).not.toContain('discover_workers');
  });

  it('find everything in order here, and a dead chain where there is one', async () => {
    const Report = z.object({
      ok: z.boolean(),
      checks: z.array(z.looseObject({ check: z.string(), status: z.string(), next_step: z.string().optional() })),
    });
    const fine = await runJson(Report, ['doctor']);
    expect(fine.value.checks.filter(({ status }) => status === 'fail')).toEqual([]);
    expect(fine).toMatchObject({ code: 0, value: { ok: true } });
    const names = fine.value.checks.map(({ check }) => check);
    expect(names).toEqual(expect.arrayContaining(['store', 'signer', 'chain', 'clock', 'balance', 'index', 'python']));
    const dead = await runJson(Report, ['doctor'], { ERPC_URL: 'http://127.0.0.1:1/?network={network}' });
    expect(dead).toMatchObject({ code: 1, value: { ok: false } });
    const chain = dead.value.checks.find(({ check }) => check === 'chain');
    expect(chain).toMatchObject({ status: 'fail', next_step: expect.stringContaining('ERPC_URL') });
  });
});

describe('loop', () => {
  it('runs the script unchanged and prints what to think about', async () => {
    writeFileSync(join(scripts, 'loop.py'), 'DEPTH = 8\nprint(f"val_bpb: {2 - DEPTH / 100}")\n');
    const prefer = lab.worker(1).workerEndpoint;
    const args = ['loop', join(scripts, 'loop.py'), '--prefer', prefer, '--rounds', '2'];
    const { code, value } = await runJson(Loop, args);
    expect(code).toBe(0);
    expect(value).toMatchObject({ state: 'needs_proposals', baseline_val_bpb: 1.92, rounds: 2 });
    expect(value.results[0]?.worker_endpoint).toBe(prefer);
    expect(value.think).toContain('DEPTH = 8');
  });

  it('fails when the script fails', async () => {
    writeFileSync(join(scripts, 'broken-loop.py'), 'raise SystemExit(2)\n');
    const { code, value } = await runJson(Loop, ['loop', join(scripts, 'broken-loop.py')]);
    expect(code).toBe(1);
    expect(value.state).toBe('failed');
  });
});

describe('demo', () => {
  it('does the whole job by itself and leaves no process', async () => {
    const Demo = z.strictObject({
      ok: z.literal(true),
      baseline_val_bpb: z.number(),
      best_val_bpb: z.number(),
      spent_usdc: z.string(),
      chain_verified: z.literal(true),
      duration_s: z.number(),
      experiments: z.array(
        z.strictObject({
          experiment_id: z.string(),
          state: z.literal('published'),
          worker_endpoint: z.url(),
          price_atomic: z.string().regex(/^\d+$/),
          payment_tx: z.string().regex(/^0x[0-9a-f]{64}$/),
          val_bpb: z.number(),
        }),
      ),
      results_path: z.string(),
      chart_path: z.string(),
    });
    const folder = lab.createFolder();
    const { code, value } = await runJson(Demo, ['demo', '--rounds', '2', '--workers', '2'], { TMPDIR: folder });
    expect(code).toBe(0);
    expect(value.best_val_bpb).toBeLessThan(value.baseline_val_bpb);
    // The unchanged script, two rounds, and what was confirmed or audited on the other worker.
    const count = value.experiments.length;
    expect(count).toBeGreaterThanOrEqual(4);
    expect(count).toBeLessThanOrEqual(8);
    expect(new Set(value.experiments.map(({ payment_tx }) => payment_tx)).size).toBe(count);
    expect(readFileSync(value.results_path, 'utf8').trimEnd().split('\n')).toHaveLength(count);
    expect(existsSync(value.chart_path)).toBe(true);
  });
});

describe('localnet', () => {
  it('prints on its first line an environment that is enough for other commands, and ends on SIGINT', async () => {
    const Line = z.strictObject({
      env: z.record(z.string(), z.string()),
      rpc_url: z.url(),
      chain_id: z.number(),
      usdc: z.string(),
      identity_registry: z.string(),
      reputation_registry: z.string(),
      payer: z.string(),
      index_url: z.url(),
      workers: z.array(
        z.strictObject({
          worker_endpoint: z.url(),
          pay_to: z.string(),
          price_atomic: z.string(),
          agent_id: z.string(),
        }),
      ),
    });
    const child: ChildProcessByStdio<null, Readable, null> = spawn(
      process.execPath,
      [lab.cli, 'localnet', '--workers', '1', '--json'],
      { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH, HOME } },
    );
    try {
      const [text] = z.tuple([z.string()]).parse(await once(createInterface(child.stdout), 'line'));
      const line = Line.parse(JSON.parse(text));
      expect(line.workers).toHaveLength(1);
      const wallet = await runJson(z.looseObject({ payer: z.string() }), ['wallet'], line.env);
      expect(wallet).toMatchObject({ code: 0, value: { payer: line.payer } });
      const args = ['submit', line.workers[0]?.worker_endpoint ?? '', join(scripts, 'train.py')];
      const paid = await runJson(Experiment, args, { ...line.env, AUTORESEARCH_RUNNER_IDLE: '0' });
      expect(paid).toMatchObject({ code: 0, value: { state: 'published', val_bpb: 1.5 } });
      const ended = once(child, 'exit');
      child.kill('SIGINT');
      expect(await ended).toEqual([0, null]);
      expect(existsSync(line.env.DATA_DIR ?? '')).toBe(false);
    } finally {
      child.kill('SIGKILL');
    }
  });
});

describe('wrong usage', () => {
  it.each([
    ['an unknown command', ['discovr']],
    ['an unknown option', ['discover', '--lmit', '3']],
    ['a missing argument', ['probe']],
    ['one argument too many', ['leaderboard', 'extra']],
    ['a ranking that there is not', ['leaderboard', '--scope', 'all']],
    ['a count of zero', ['discover', '--limit', '0']],
    ['a count that is none', ['discover', '--limit', '1e3']],
    ['a config that is no object', ['submit', 'auto', 'train.py', '--config', '[1]']],
  ])('ends with 2 and an explanation: %s', async (_what, args) => {
    const { code, stdout, stderr } = await run(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error: .+/);
  });

  it('is explained by --help, which is no error, as --version is none', async () => {
    const help = await run(['--help']);
    expect(help.code).toBe(0);
    for (const name of [
      'demo',
      'localnet',
      'discover',
      'probe',
      'submit',
      'leaderboard',
      'feedback',
      'loop',
      'wallet',
      'doctor',
    ])
      expect(help.stdout).toContain(`  ${name}`);
    expect(await run(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });
});

describe('a wrong environment', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['AUTORESEARCH_BUDGET', 'abc'],
    ['AUTORESEARCH_BUDGET_TOTAL', '1e3'],
    ['AUTORESEARCH_MAX_PRICE', '-1'],
    ['AUTORESEARCH_MAX_VALIDITY', '5'],
    ['AUTORESEARCH_MAX_OVERLAP', 'two'],
    ['AUTORESEARCH_RUNNER_IDLE', '1.5'],
    ['AUTORESEARCH_WORKERS', 'rig7'],
    ['ERPC_NETWORK', 'nowhere'],
    ['ERPC_URL', 'node:8545'],
    ['SCAN_API_URL', 'ftp://index'],
    ['LOG_LEVEL', 'loud'],
    ['DATA_DIR', '/dev/null/folder'],
  ];

  it.each(cases)('ends a command with 2 and one line that names the variable: %s', async (name, value) => {
    const { code, stdout, stderr } = await run(['wallet'], { [name]: value });
    expect(stderr).toMatch(/^[^\n]+\n$/);
    expect(stderr).toContain(name);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });

  it('ends the server and a program-readable command in the same way', async () => {
    const server = await run([], { AUTORESEARCH_BUDGET: 'abc' });
    expect(server).toMatchObject({ code: 2, stdout: '' });
    expect(server.stderr).toMatch(/^[^\n]*AUTORESEARCH_BUDGET[^\n]*\n$/);
    const { code, value } = await runJson(Refusal, ['discover'], { AUTORESEARCH_BUDGET: 'abc' });
    expect(code).toBe(2);
    expect(value).toMatchObject({ code: 'bad_configuration', error: expect.stringContaining('AUTORESEARCH_BUDGET') });
  });

  it('that is empty or was never filled in by a host counts as none', async () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is what such a host hands over
    const blank = { AUTORESEARCH_BUDGET: '', AUTORESEARCH_MAX_PRICE: '${AUTORESEARCH_MAX_PRICE}' };
    const Wallet = z.looseObject({
      caps: z.looseObject({ max_price_atomic: z.string(), budget_24h_atomic: z.string() }),
    });
    const { code, value } = await runJson(Wallet, ['wallet'], blank);
    expect(code).toBe(0);
    expect(value.caps).toMatchObject({ max_price_atomic: '250000', budget_24h_atomic: '5000000' });
  });
});
