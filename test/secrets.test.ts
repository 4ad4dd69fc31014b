import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import * as z from 'zod';
import { openDatabase } from '../src/store/database.ts';
import { Experiment, FINAL_STATES, Host, listProcesses, Quote } from './harness.ts';
import { readPayerKey } from './localnet-client.ts';
import { encode, type HostileWorker } from './peer/hostile-worker.ts';
import { PeerLab, SCRIPT } from './peer/peer-lab.ts';
import { CuttingBroker } from './peer/sign-in-gate.ts';
import { SignerStandIn } from './peer/signer-stand-in.ts';

const SIGNER_TOKEN = 'signer-token-9c1f4be27a60d835';
const JOB_TOKEN = 'job-token-3b8e0a7d5c2f4916';
const PASSWORD = 'keystore-password-61d0f7';
/** The header of a sign-in, with its signature as it is sent. */
const SIGN_IN = /SIWX [^.]+\.(.+)/;
const Signed = z.looseObject({ payload: z.looseObject({ signature: z.string() }) });
const Created = z.object({ address: z.string(), keystore: z.string(), password_file: z.string() });

let lab: PeerLab;
let signer: SignerStandIn;
/** In order: honest, a broker of jobs, one that resets, one that refuses with our own header in its words, a broker that loses its 202. */
let workers: HostileWorker[];
let env: Record<string, string>;
let host: Host;
let dataDir: string;
/** Everything that anybody could read, by where it was. */
const shown = new Map<string, string>();

beforeAll(async () => {
  lab = await PeerLab.open();
  signer = await SignerStandIn.start(readPayerKey(lab.network));
  signer.token = SIGNER_TOKEN;
  workers = await Promise.all(Array.from({ length: 5 }, () => lab.worker()));
  dataDir = lab.folder();
  env = {
    ...lab.network.env,
    TMPDIR: tmpdir(),
    DATA_DIR: dataDir,
    REMOTE_SIGNER_URL: signer.url,
    REMOTE_SIGNER_TOKEN: SIGNER_TOKEN,
    AUTORESEARCH_ALLOW_HTTP_HOSTS: [new URL(lab.network.indexUrl).host, ...workers.map((one) => one.host)].join(),
    AUTORESEARCH_RUNNER_IDLE: '1',
    LOG_LEVEL: 'trace',
  };
  host = await connect();
});

afterAll(async () => {
  await host?.close();
  // Two payments are open on purpose: the runner would wait for their windows to end.
  for (const pid of dataDir ? listProcesses(dataDir) : []) process.kill(pid, 'SIGTERM');
  await signer?.close();
  await lab?.close();
});

async function connect(): Promise<Host> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [inject('cli')],
    env,
    stderr: 'pipe',
  });
  transport.stderr?.on('data', (chunk) => note('stderr of the server', String(chunk)));
  const client = new Client({ name: 'test', version: '1' });
  await client.connect(transport);
  await client.listTools();
  return new Host(client, transport, dataDir);
}

function note(where: string, text: string): void {
  shown.set(where, `${shown.get(where) ?? ''}${text}`);
}

/** Calls a tool and keeps what it says, refusals included. */
async function call(name: string, args: Record<string, unknown>): Promise<unknown> {
  const answer = await host.call(name, args);
  note(`${name} ${JSON.stringify(args)}`, JSON.stringify(answer));
  return answer.structuredContent;
}

async function submit(worker: HostileWorker, isEnd: (seen: Experiment) => boolean): Promise<void> {
  const input = { worker: worker.endpoint, train_py: SCRIPT, repeat: true, wait_seconds: 0 };
  const { experiment_id } = Experiment.parse(await call('submit_experiment', input));
  const look = async () => isEnd(Experiment.parse(await call('get_experiment', { experiment_id, wait_seconds: 1 })));
  await expect.poll(look, { timeout: 40_000 }).toBe(true);
}

/** Not synchronous: workers and signer live in this process. */
function runCli(args: readonly string[], changes: Readonly<Record<string, string>> = {}): Promise<string> {
  return new Promise((resolve) => {
    const options = { env: { ...env, ...changes }, encoding: 'utf8' } as const;
    execFile(process.execPath, [inject('cli'), ...args], options, (_error, stdout, stderr) => {
      note(`command ${args.join(' ')}`, stdout + stderr);
      resolve(stdout);
    });
  });
}

function script([, broker, resetting, echoing, losing]: readonly HostileWorker[]): void {
  if (!broker || !resetting || !echoing || !losing) throw new Error('a worker is missing');
  let result: unknown;
  broker.answers = {
    paid: async (exchange) => {
      result = exchange.result();
      const receipt = encode(await exchange.settle());
      const job = { statusUrl: '/jobs/1', resultUrl: '/jobs/1/result', jobToken: JOB_TOKEN };
      exchange.json(202, { jobId: '1', ...job, message: JOB_TOKEN }, { 'payment-response': receipt });
    },
    other: (exchange) =>
      exchange.json(200, exchange.seen.path.endsWith('/result') ? result : { state: 'complete', error: JOB_TOKEN }),
  };
  resetting.answers = { paid: (exchange) => exchange.reset() };
  echoing.answers = { paid: (exchange) => exchange.json(500, { error: 'no' }) };
  new CuttingBroker(losing, lab.network.payer, () => Date.now()).add({ state: 'failed' });
}

it('nothing secret is in any log, result, error, record or resource of a paid session at trace level', async () => {
  script(workers);
  const [honest, broker, resetting, failing, losing] = workers;
  if (!honest || !broker || !resetting || !failing || !losing) throw new Error('a worker is missing');
  Quote.omit({ worker_id: true }).parse(await call('probe_worker', { worker: honest.endpoint }));
  const isFinal = ({ state }: Experiment) => FINAL_STATES.includes(state);
  const isOpen = ({ settlement }: Experiment) => settlement === 'unknown';
  const [ended, open] = [
    [honest, broker, losing],
    [resetting, failing],
  ];
  await Promise.all([...ended.map((one) => submit(one, isFinal)), ...open.map((one) => submit(one, isOpen))]);
  await call('get_status', {});
  await call('get_leaderboard', {});
  await call('submit_experiment', { worker: honest.endpoint, train_py: '' });
  for (const { uri } of (await host.client.listResources()).resources)
    note(`resource ${uri}`, JSON.stringify(await host.client.readResource({ uri })));
  const commands = [['wallet', '--json'], ['wallet', 'history', '--csv'], ['experiments'], ['doctor', '--json']];
  await Promise.all([
    ...commands.map((args) => runCli(args)),
    runCli(['wallet'], { REMOTE_SIGNER_TOKEN: `${SIGNER_TOKEN}-wrong` }),
    runKeystore(honest),
  ]);
  for (const name of readdirSync(host.file(), { recursive: true, encoding: 'utf8' }))
    if (/\.(log|jsonl|py|svg)$/.test(name)) note(`file ${name}`, readFileSync(host.file(name), 'utf8'));

  expect([...shown.keys()]).toEqual(expect.arrayContaining(['file runner.log', 'file results.jsonl']));
  expect(shown.get('file runner.log')).toContain('experiment advanced');
  for (const secret of await listSecrets())
    for (const [where, text] of shown) expect(text.includes(secret), `a secret in ${where}`).toBe(false);
}, 120_000);

/** A keystore with a password of ours: made, used and opened with a wrong password. */
async function runKeystore(worker: HostileWorker): Promise<void> {
  const folder = lab.folder();
  const passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
  const keystore = { DATA_DIR: folder, REMOTE_SIGNER_URL: '', AUTORESEARCH_KEYSTORE_PASSWORD_FILE: passwordFile };
  const created = Created.parse(JSON.parse(await runCli(['wallet', 'create', '--json'], keystore)));
  const opened = { ...keystore, AUTORESEARCH_KEYSTORE: created.keystore };
  await Promise.all([runCli(['wallet'], opened), runCli(['probe', worker.endpoint], opened)]);
  writeFileSync(passwordFile, `${PASSWORD}-wrong\n`);
  await Promise.all([runCli(['wallet'], opened), runCli(['doctor'], opened)]);
}

/** Every secret of the session; a payment header counts as a whole and by its signature. */
async function listSecrets(): Promise<string[]> {
  const payments = workers.flatMap((worker) => worker.payments);
  expect(new Set(payments).size).toBe(5);
  const signatures = payments.map(
    (header) => Signed.parse(JSON.parse(Buffer.from(header, 'base64').toString('utf8'))).payload.signature,
  );
  const signIns = workers.flatMap(({ log }) =>
    log.flatMap(({ headers }) => SIGN_IN.exec(headers.authorization ?? '') ?? []),
  );
  expect(signIns.length).toBeGreaterThanOrEqual(4);
  const db = await openDatabase(dataDir);
  const setting = await db.selectFrom('settings').select('value').where('key', '=', 'master_secret').execute();
  await db.destroy();
  const masterSecrets = setting.map(({ value }) => value);
  expect(masterSecrets).toHaveLength(1);
  const proofs = signIns
    .map((part) => Buffer.from(part, 'base64').toString('utf8'))
    .filter((text) => text.startsWith('0x'));
  const hex = [readPayerKey(lab.network), ...signatures, ...proofs].map((value) => value.slice(2));
  return [SIGNER_TOKEN, JOB_TOKEN, PASSWORD, ...payments, ...signIns, ...hex, ...masterSecrets];
}
