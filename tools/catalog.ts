import type { Tool } from './define-tool.ts';
import { discoverWorkers } from './discover_workers.ts';
import { getExperiment } from './get_experiment.ts';
import { getLeaderboard } from './get_leaderboard.ts';
import { getStatus } from './get_status.ts';
import { probeWorker } from './probe_worker.ts';
import { runLoop } from './run_loop.ts';
import { submitExperiment } from './submit_experiment.ts';

/** Every tool, in the order of a typical session. */
export const TOOLS: readonly Tool[] = [
  discoverWorkers,
  probeWorker,
  submitExperiment,
  getExperiment,
  getLeaderboard,
  runLoop,
  getStatus,
];
