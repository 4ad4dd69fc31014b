import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { isAlive, readPayerKey, StockPayer } from './localnet-client.ts';

const PROGRAM = fileURLToPath(new URL('localnet-process.ts', import.meta.url));
const lineSchema = z.strictObject({
  env: z.record(z.string(), z.string()),
  rpc_url: z.url(),
  chain_id: z.literal(84532),
  usdc: z.string(),
  identity_registry: z.string(),
  reputation_registry: z.string(),
  payer: z.string(),
  index_url: z.url(),
  workers: z.array(
    z.strictObject({
      worker_endpoint: z.url(),
      pay_to: z.string(),
      price_atomic: z.string().regex(/^\d+$/),
      agent_id: z.literal('0'),
    }),
  ),
});

interface RunningCommand {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly line: z.infer<typeof lineSchema>;
  readonly folder: string;
  readonly trainingPid: number;
}

let scratch: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'localnet-test-'));
});

afterEach(() => {
  rmSync(scratch, { recursive: true });
});

/** Starts the command in a process of its own and holds its worker busy with a training run. */
async function startCommand(): Promise<RunningCommand> {
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: scratch },
  });
  const [text] = z.tuple([z.string()]).parse(await once(createInterface(child.stdout), 'line'));
  const line = lineSchema.parse(JSON.parse(text));
  const pidFile = join(scratch, 'training.pid');
  const train_py = `import os, time\nopen(${JSON.stringify(pidFile)}, "w").write(str(os.getpid()))\ntime.sleep(60)`;
  const paid = new StockPayer(readPayerKey(line)).pay(line.workers[0]?.worker_endpoint ?? '', { train_py });
  paid.catch(() => {});
  const readPid = () => (existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0);
  await expect.poll(readPid, { timeout: 10_000 }).toBeGreaterThan(0);
  return { child, line, folder: dirname(line.env.DATA_DIR ?? ''), trainingPid: readPid() };
}

async function expectNothingLeft({ line, folder, trainingPid }: RunningCommand): Promise<void> {
  await expect.poll(() => existsSync(folder), { timeout: 10_000 }).toBe(false);
  await expect.poll(() => isAlive(trainingPid), { timeout: 5_000 }).toBe(false);
  await expect
    .poll(
      () =>
        fetch(line.rpc_url).then(
          () => 'up',
          () => 'down',
        ),
      { timeout: 5_000 },
    )
    .toBe('down');
  expect(readdirSync(scratch).filter((name) => name.startsWith('autoresearch-localnet-'))).toEqual([]);
}

describe('the localnet command', () => {
  it('ends with 0 on SIGINT and leaves neither processes nor files', async () => {
    const command = await startCommand();
    command.child.kill('SIGINT');
    expect(await once(command.child, 'exit')).toEqual([0, null]);
    expect(existsSync(command.folder)).toBe(false);
    await expectNothingLeft(command);
  }, 30_000);

  it('leaves neither processes nor files after kill -9', async () => {
    const command = await startCommand();
    command.child.kill('SIGKILL');
    expect(await once(command.child, 'exit')).toEqual([null, 'SIGKILL']);
    await expectNothingLeft(command);
  }, 30_000);

  it('ends with 1 and a clear line when the chain dies', async () => {
    const command = await startCommand();
    const lines: string[] = [];
    createInterface(command.child.stderr).on('line', (line) => lines.push(line));
    const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n');
    const ofChild = new RegExp(`^\\s*(\\d+)\\s+${command.child.pid}\\s+\\S*anvil\\s`);
    const anvilPid = Number(table.map((row) => ofChild.exec(row)?.[1]).find((pid) => pid !== undefined));
    process.kill(anvilPid, 'SIGKILL');
    expect(await once(command.child, 'close')).toEqual([1, null]);
    expect(lines).toEqual(["The local network's chain ended by itself (SIGKILL). Start the local network again."]);
    await expectNothingLeft(command);
  }, 30_000);
});
