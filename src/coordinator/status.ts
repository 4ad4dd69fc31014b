import type { AtomicUsdc } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import { loadLoops } from '../campaign/loop.ts';
import { explainStanding, loadStandings } from '../campaign/standing.ts';
import { loadExperiments } from '../experiment/experiment.ts';
import { formatTaskFault, readTaskFiles } from '../experiment/task-files.ts';
import { leftUnder, sumLedger } from '../payment/budget.ts';
import type { Services } from './services.ts';
import { findRunnerPid } from './spawn-runner.ts';
import { readWallet } from './wallet-view.ts';

const RECENT = 5;

/** Wallet and budget, what is going on, and how the parts are. */
export async function readStatus(services: Services) {
  const { db, config } = services;
  const [wallet, open, recent, loops, runnerPid, workers] = await Promise.all([
    readWallet(services),
    loadExperiments(db, { isOpen: true, limit: 50 }),
    loadExperiments(db, { limit: RECENT }),
    loadLoops(db, { limit: RECENT }),
    findRunnerPid(services),
    listNotable(services),
  ]);
  const warnings = readTaskFiles(config.tasksFolder).faults.map(
    (fault) => `AUTORESEARCH_TASKS: ${formatTaskFault(fault)}`,
  );
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
    ...(workers.length > 0 ? { workers } : {}),
    ...(warnings.length > 0 ? { warnings } : {}),
    ...(runnerPid === undefined ? {} : { runner_pid: runnerPid }),
    data_dir: config.dataDir,
    health: { ...wallet.health, store: 'ok' },
  };
}

/** More than these would bury the rest. */
const MAX_NOTABLE = 10;

/** Workers of which audits or failures have something to say, those in quarantine first. */
async function listNotable({ db, clock }: Services) {
  const standings = [...(await loadStandings(db, clock.nowMs()))].toSorted(([, a], [, b]) => a.trust - b.trust);
  return standings
    .flatMap(([worker_endpoint, standing]) => {
      const standing_because = explainStanding(standing);
      return standing_because === null ? [] : [{ worker_endpoint, standing: standing.state, standing_because }];
    })
    .slice(0, MAX_NOTABLE);
}

/** What is left of the day's budget, atomic USDC. */
export async function readLeftToday({ db, clock, config }: Services): Promise<AtomicUsdc> {
  const sums = await sumLedger(db, clock.nowMs());
  return leftUnder(config.budgetAtomic, sums.spentDayAtomic, sums.heldAtomic);
}
