import type { AtomicUsdc } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import { loadLoops } from '../campaign/loop.ts';
import { loadExperiments } from '../experiment/experiment.ts';
import { leftUnder, sumLedger } from '../payment/budget.ts';
import type { Services } from './services.ts';
import { findRunnerPid } from './spawn-runner.ts';
import { readWallet } from './wallet-view.ts';

const RECENT = 5;

/** Wallet and budget, what is going on, and how the parts are. */
export async function readStatus(services: Services) {
  const { db, config } = services;
  const [wallet, open, recent, loops, runnerPid] = await Promise.all([
    readWallet(services),
    loadExperiments(db, { isOpen: true, limit: 50 }),
    loadExperiments(db, { limit: RECENT }),
    loadLoops(db, { limit: RECENT }),
    findRunnerPid(services),
  ]);
  return {
    ...wallet,
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
    health: { ...wallet.health, store: 'ok' },
  };
}

/** What is left of the day's budget, atomic USDC. */
export async function readLeftToday({ db, clock, config }: Services): Promise<AtomicUsdc> {
  const sums = await sumLedger(db, clock.nowMs());
  return leftUnder(config.budgetAtomic, sums.spentDayAtomic, sums.heldAtomic);
}
