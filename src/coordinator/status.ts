import { type AtomicUsdc, atomicUsdc } from '../base/money.ts';
import { isoTime, sleep } from '../base/time.ts';
import { loadLoops } from '../campaign/loop.ts';
import { loadExperiments } from '../experiment/experiment.ts';
import { sumLedger } from '../payment/budget.ts';
import type { Services } from './services.ts';
import { findRunnerPid } from './spawn-runner.ts';

const RECENT = 5;

/** Payer, budget, what is going on, and how the parts are; asks the chain for the balance. */
export async function readStatus(services: Services) {
  const { db, clock, desk, config } = services;
  const nowMs = clock.nowMs();
  const [sums, balance, open, recent, loops, runnerPid] = await Promise.all([
    sumLedger(db, nowMs),
    fetchBalance(services),
    loadExperiments(db, { isOpen: true, limit: 50 }),
    loadExperiments(db, { limit: RECENT }),
    loadLoops(db, { limit: RECENT }),
    findRunnerPid(services),
  ]);
  const usedDay = sums.spentDayAtomic + sums.heldAtomic;
  const leftAtomic = usedDay > config.budgetAtomic ? 0n : config.budgetAtomic - usedDay;
  return {
    ...(desk.payer === null ? {} : { payer: desk.payer }),
    chain: config.defaultChain.name,
    ...(balance.atomic === null ? {} : { balance_atomic: balance.atomic.toString() }),
    spent_atomic: sums.spentAtomic.toString(),
    spent_24h_atomic: sums.spentDayAtomic.toString(),
    reserved_atomic: sums.heldAtomic.toString(),
    left_24h_atomic: leftAtomic.toString(),
    caps: {
      max_price_atomic: desk.caps.perExperimentAtomic.toString(),
      budget_24h_atomic: config.budgetAtomic.toString(),
      ...(config.budgetTotalAtomic === undefined ? {} : { budget_total_atomic: config.budgetTotalAtomic.toString() }),
    },
    in_flight: open.map(({ experimentId, state, settlement, workerEndpoint, description }) => ({
      experiment_id: experimentId,
      state,
      settlement,
      description,
      ...(workerEndpoint === null ? {} : { worker_endpoint: workerEndpoint }),
    })),
    loops: loops.map(({ loopId, state }) => ({ loop_id: loopId, state })),
    recent: recent.map(({ experimentId, state, description, valBpb, createdAtMs }) => ({
      experiment_id: experimentId,
      state,
      description,
      created_at: isoTime(createdAtMs),
      ...(valBpb === null ? {} : { val_bpb: valBpb }),
    })),
    ...(runnerPid === undefined ? {} : { runner_pid: runnerPid }),
    data_dir: config.dataDir,
    health: { signer: desk.payer === null ? 'not configured' : 'ok', rpc: balance.health, store: 'ok' },
    next_step:
      desk.payer === null
        ? 'Set AUTORESEARCH_PRIVATE_KEY_FILE to be able to pay; reading tools work without.'
        : 'Find workers with discover_workers, or start a loop with run_loop.',
  };
}

/** A chain that does not answer within this time is shown as silent, in milliseconds. */
const BALANCE_DEADLINE_MS = 3_000;

async function fetchBalance({
  desk,
  config,
  openChain,
}: Services): Promise<{ atomic: AtomicUsdc | null; health: string }> {
  const silent = sleep(BALANCE_DEADLINE_MS).then(() => ({ atomic: null, health: 'did not answer in time' }));
  const asked = (async () => {
    const reader = await openChain(config.defaultChain);
    if (!reader) return { atomic: null, health: `no usable JSON-RPC for ${config.defaultChain.name}` };
    if (desk.payer === null) return { atomic: null, health: 'ok' };
    return { atomic: await reader.fetchBalance(desk.payer), health: 'ok' };
  })().catch(() => ({ atomic: null, health: 'did not answer' }));
  return Promise.race([asked, silent]);
}

/** What is left of the day's budget, atomic USDC. */
export async function readLeftToday({ db, clock, config }: Services): Promise<AtomicUsdc> {
  const sums = await sumLedger(db, clock.nowMs());
  const used = sums.spentDayAtomic + sums.heldAtomic;
  return atomicUsdc(used >= config.budgetAtomic ? 0n : config.budgetAtomic - used);
}
