import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CoordinatorError } from '../base/errors.ts';
import { formatUsd } from '../base/money.ts';
import type { Services } from '../coordinator/services.ts';
import { findRunnerPid } from '../coordinator/spawn-runner.ts';
import { READY_TASKS } from '../experiment/task.ts';
import { formatTaskFault, readTaskFiles } from '../experiment/task-files.ts';
import { checkDatabase } from '../store/database.ts';
import type { Output } from './output.ts';
import { withCoordinator } from './with-coordinator.ts';

/** One thing that has to be right before money is spent. */
interface Finding {
  readonly check: string;
  /** `warn`: works, but not as well as it could. */
  readonly status: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  readonly next_step?: string;
}

type Check = (services: Services) => Promise<Finding>;

const MAX_SKEW_SECONDS = 30;
const MAX_HEAD_AGE_SECONDS = 120;

/** `doctor`: checks the whole path without paying. Exit code 0 when nothing fails. */
export async function runDoctor(output: Output): Promise<number> {
  const findings = await withCoordinator(async (coordinator) => {
    const services = await coordinator.services();
    return Promise.all(
      CHECKS.map(([name, check]) => check(services).catch((error: unknown) => explainFailure(name, error))),
    );
  });
  const isOk = findings.every(({ status }) => status !== 'fail');
  output.emit({ ok: isOk, checks: findings });
  for (const finding of findings) {
    output.say(`${{ ok: '✓', warn: '!', fail: '✗' }[finding.status]} ${finding.check}: ${finding.detail}`);
    if (finding.next_step !== undefined) output.say(`    → ${finding.next_step}`);
  }
  return isOk ? 0 : 1;
}

function explainFailure(check: string, error: unknown): Finding {
  if (error instanceof CoordinatorError)
    return { check, status: 'fail', detail: error.message, next_step: error.nextStep };
  return { check, status: 'fail', detail: error instanceof Error ? error.message.slice(0, 200) : 'failed' };
}

const checkStore: Check = async (services) => {
  await checkDatabase(services.db);
  const pid = await findRunnerPid(services);
  return {
    check: 'store',
    status: 'ok',
    detail: `${services.folder}, ${pid === undefined ? 'no runner needed now' : `runner ${pid}`}`,
  };
};

const checkSigner: Check = async ({ desk, config }) => {
  const payer = await desk.fetchPayer();
  if (payer !== null) return { check: 'signer', status: 'ok', detail: `${desk.walletKind} of ${payer}` };
  return {
    check: 'signer',
    status: 'warn',
    detail: `no key is configured; nothing can be paid on ${config.defaultChain.name}`,
    next_step:
      'Set AUTORESEARCH_PRIVATE_KEY_FILE to a file (mode 600) with the key of a wallet that holds only the experiment budget.',
  };
};

const checkChain: Check = async ({ openChain, config }) => {
  const chain = config.defaultChain;
  const reader = await openChain(chain);
  if (!reader)
    return {
      check: 'chain',
      status: 'fail',
      detail: `no JSON-RPC node answers as ${chain.name} (${chain.chainId})`,
      next_step: 'Set ERPC_URL to a node of that chain; without one no payment can be proven.',
    };
  const head = await reader.fetchHead();
  const ageSeconds = Math.round(Date.now() / 1000 - head.timeUnix);
  const status = ageSeconds > MAX_HEAD_AGE_SECONDS ? 'warn' : 'ok';
  return { check: 'chain', status, detail: `${chain.name}, block ${head.block}, ${ageSeconds} s old` };
};

const checkClock: Check = async ({ openChain, config }) => {
  const reader = await openChain(config.defaultChain);
  if (!reader) return { check: 'clock', status: 'warn', detail: 'cannot be compared without a chain' };
  const { timeUnix } = await reader.fetchHead();
  const behindSeconds = Math.round(timeUnix - Date.now() / 1000);
  if (behindSeconds <= MAX_SKEW_SECONDS) return { check: 'clock', status: 'ok', detail: "agrees with the chain's" };
  return {
    check: 'clock',
    status: 'fail',
    detail: `${behindSeconds} s behind the chain's`,
    next_step: 'Set the clock of this machine.',
  };
};

const checkBalance: Check = async ({ openChain, config, desk }) => {
  const payer = await desk.fetchPayer().catch(() => null);
  const reader = payer === null ? null : await openChain(config.defaultChain);
  if (!reader || payer === null)
    return { check: 'balance', status: 'warn', detail: 'unknown without signer and chain' };
  if (await reader.hasCode(payer)) {
    return {
      check: 'balance',
      status: 'fail',
      detail: `${payer} is a contract wallet, whose payments workers refuse`,
      next_step: 'Pay from an ordinary account.',
    };
  }
  const balanceAtomic = await reader.fetchBalance(payer);
  const isEnough = balanceAtomic >= config.maxPriceAtomic;
  return {
    check: 'balance',
    status: isEnough ? 'ok' : 'warn',
    detail: `${formatUsd(balanceAtomic)} USDC on ${config.defaultChain.name}`,
    ...(isEnough ? {} : { next_step: `Send USDC on ${config.defaultChain.name} to ${payer}.` }),
  };
};

const checkIndex: Check = async ({ discovery }) => {
  const found = await discovery.discover({ limit: 20, refresh: true, deadlineMs: 8_000 });
  const failed = found.sources.filter(({ ok }) => !ok);
  const isUsable = found.sources.some(({ ok }) => ok);
  return {
    check: 'index',
    status: isUsable ? 'ok' : 'fail',
    detail: `${found.workers.length} usable workers${failed.map(({ source, error }) => `; ${source}: ${error ?? 'failed'}`).join('')}`,
    ...(isUsable ? {} : { next_step: 'Check SCAN_API_URL and the network, or name workers in AUTORESEARCH_WORKERS.' }),
  };
};

const checkPython: Check = async () => {
  const found = await promisify(execFile)('python3', ['--version'], { timeout: 5_000 }).catch(() => null);
  if (found) return { check: 'python', status: 'ok', detail: (found.stdout || found.stderr).trim().slice(0, 60) };
  return {
    check: 'python',
    status: 'warn',
    detail: 'python3 is not on the PATH',
    next_step: 'Only demo and localnet need it: install Python 3.',
  };
};

const checkCaps: Check = async ({ config }) => ({
  check: 'caps',
  status: 'ok',
  detail: `${formatUsd(config.maxPriceAtomic)} USDC per experiment, ${formatUsd(config.budgetAtomic)} per 24 hours, ${config.budgetTotalAtomic === undefined ? 'no lifetime limit' : `${formatUsd(config.budgetTotalAtomic)} in all`}`,
});

const checkTasks: Check = async ({ config }) => {
  const { tasks, faults } = readTaskFiles(config.tasksFolder);
  const own = tasks.length === 0 ? 'none of your own' : `your own: ${tasks.map(({ name }) => name).join(', ')}`;
  if (faults.length === 0)
    return { check: 'tasks', status: 'ok', detail: `${READY_TASKS.length} come with the program, ${own}` };
  return {
    check: 'tasks',
    status: 'fail',
    detail: `${faults.map(formatTaskFault).join('; ')}; ${own}`,
    next_step: 'Mend what AUTORESEARCH_TASKS names: a script whose task is not known is held against few rules.',
  };
};

const CHECKS: readonly (readonly [string, Check])[] = [
  ['store', checkStore],
  ['signer', checkSigner],
  ['chain', checkChain],
  ['clock', checkClock],
  ['balance', checkBalance],
  ['index', checkIndex],
  ['python', checkPython],
  ['caps', checkCaps],
  ['tasks', checkTasks],
];
