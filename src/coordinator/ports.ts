import { findChampion } from '../campaign/champion.ts';
import { findPlace } from '../campaign/choice-place.ts';
import { loadScoredRuns } from '../campaign/evidence.ts';
import { loadLoop } from '../campaign/loop.ts';
import { loadOwnRecords, loadUsualRuns } from '../campaign/own-record.ts';
import { loadOutlook } from '../campaign/patience.ts';
import { ruleOn } from '../campaign/ruling.ts';
import { loadStandings } from '../campaign/standing.ts';
import { loadTitles } from '../campaign/titles.ts';
import { chooseWorker } from '../campaign/worker-choice.ts';
import { isBlockedByOperator } from '../discovery/experiment-url.ts';
import type { DriverPorts, Patience, WorkerPick } from '../experiment/drive.ts';
import type { Experiment } from '../experiment/experiment.ts';
import { loadTakenWorkers } from '../experiment/leases.ts';
import { loadTask } from '../experiment/lineage-task.ts';
import type { Caps } from '../payment/budget.ts';
import type { Services } from './services.ts';

const PRICE_DEADLINE_MS = 3_000;
const CANDIDATES = 100;

/** What the driver of experiments is given: the floors below it, and the decisions of the floor above. */
export function createPorts(services: Services, patience: Patience): DriverPorts {
  const { db, clock, log, worker, desk, config } = services;
  return {
    db,
    clock,
    log,
    worker,
    desk,
    patience,
    maxOverlap: config.maxOverlap,
    chooseWorker: (experiment) => pickWorker(services, experiment),
    judge: (experiment, result, wallSeconds) => ruleOn(db, experiment, result, wallSeconds, clock.nowMs()),
    capsOf: (experiment) => loadCaps(services, experiment),
  };
}

async function pickWorker(services: Services, experiment: Experiment): Promise<WorkerPick> {
  const { db, clock, discovery, prices } = services;
  const { rootHash, loopId } = experiment;
  const [found, taken, records, standings, usual, loop, titles, runs, task] = await Promise.all([
    discovery.discover({ limit: CANDIDATES }),
    loadTakenWorkers(db, clock.nowMs()),
    loadOwnRecords(db),
    loadStandings(db, clock.nowMs()),
    loadUsualRuns(db),
    loopId === null ? undefined : loadLoop(db, loopId),
    // Titles first: the run of one that is won in between is then among the runs.
    loadTitles(db, loopId === null ? { rootHash } : { scope: loopId }),
    loadScoredRuns(db, loopId === null ? { rootHash } : { rootHash, scope: loopId }),
    loadTask(db, rootHash),
  ]);
  const champion = findChampion(titles, runs, task);
  const owners = new Map(found.workers.map(({ workerEndpoint, owner }) => [workerEndpoint, owner]));
  const place = findPlace(experiment, { runs, champion, owners, prefer: loop?.settings.prefer ?? null });
  const isBlocked = place.preferred !== null && isBlockedByOperator(place.preferred, services.config.blockedWorkers);
  return chooseWorker(experiment, {
    nowMs: clock.nowMs(),
    workers: found.workers,
    taken,
    records,
    standings,
    durations: new Map([...usual].map(([endpoint, { seconds }]) => [endpoint, seconds])),
    ...place,
    preferred: isBlocked ? null : place.preferred,
    jobTakers: new Set([...usual].flatMap(([endpoint, { isJob }]) => (isJob ? [endpoint] : []))),
    outlook: await loadOutlook(db, usual, clock.nowMs()),
    fetchPrices: (endpoints) => prices.fetch(endpoints, PRICE_DEADLINE_MS),
  });
}

async function loadCaps({ db, desk }: Services, experiment: Experiment): Promise<Caps> {
  const caps = { ...desk.caps, perExperimentAtomic: experiment.maxPriceAtomic };
  const loop = experiment.loopId === null ? undefined : await loadLoop(db, experiment.loopId);
  return loop ? { ...caps, loopAtomic: loop.settings.budgetAtomic } : caps;
}
