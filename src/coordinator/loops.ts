import { isDeepStrictEqual } from 'node:util';
import { normalizeEndpoint } from '../base/endpoint.ts';
import { CoordinatorError, InputError, NotFoundError } from '../base/errors.ts';
import type { JsonObject } from '../base/json.ts';
import { formatUsd, parseUsd } from '../base/money.ts';
import { loadChampion, loadSigma } from '../campaign/champion.ts';
import {
  createLoop,
  type Loop,
  type LoopSettings,
  loadLoop,
  loadLoops,
  type QueuedProposal,
  updateLoop,
} from '../campaign/loop.ts';
import { isOver, type LoopProgress, loadProgress } from '../campaign/loop-engine.ts';
import { renderThink } from '../campaign/think.ts';
import type { Edit } from '../experiment/edits.ts';
import { type Experiment, loadExperiment } from '../experiment/experiment.ts';
import type { Variant } from '../experiment/variant.ts';
import { sumLedger } from '../payment/budget.ts';
import { NoWalletError } from '../payment/desk.ts';
import { loadSource, saveSource } from '../provenance/sources.ts';
import type { Trx } from '../store/database.ts';
import type { CallContext } from './experiments.ts';
import type { Services } from './services.ts';
import type { RunnerStarter } from './spawn-runner.ts';
import { readLeftToday } from './status.ts';
import { resolveVariant } from './variant-input.ts';
import { waitUntil } from './wait.ts';

export interface Proposal {
  readonly base?: string | undefined;
  readonly edits?: readonly Edit[] | undefined;
  readonly train_py?: string | undefined;
  readonly config?: JsonObject | undefined;
  readonly hypothesis?: string | undefined;
}

export interface StartLoopInput {
  readonly train_py?: string | undefined;
  readonly train_path?: string | undefined;
  readonly rounds: number;
  readonly budget_usdc?: number | undefined;
  readonly max_price_usdc?: number | undefined;
  readonly parallel: number;
  readonly prefer?: string | undefined;
  readonly agent?: string | undefined;
}

/** Starts a loop; its unchanged script runs first. @throws CoordinatorError while no loop exists */
export async function startLoop(services: Services, input: StartLoopInput): Promise<string> {
  const { db, clock, desk, config } = services;
  const variant = await resolveVariant(
    db,
    { train_py: input.train_py, train_path: input.train_path },
    { champion: null, baseline: null },
  );
  if (desk.walletKind === null) throw new NoWalletError();
  const leftAtomic = await readLeftToday(services);
  const wantedAtomic = input.budget_usdc === undefined ? leftAtomic : parseUsd(input.budget_usdc);
  if (leftAtomic === 0n)
    throw new InputError(
      'over_budget',
      'Nothing is left of the budget of 24 hours. Nothing was signed or paid.',
      'Wait until older payments are a day old, or raise AUTORESEARCH_BUDGET.',
    );
  const askedAtomic = input.max_price_usdc === undefined ? config.maxPriceAtomic : parseUsd(input.max_price_usdc);
  const settings: LoopSettings = {
    rounds: input.rounds,
    budgetAtomic: wantedAtomic < leftAtomic ? wantedAtomic : leftAtomic,
    maxPriceAtomic: askedAtomic < config.maxPriceAtomic ? askedAtomic : config.maxPriceAtomic,
    parallel: input.parallel,
    prefer: input.prefer === undefined ? null : readPreferred(input.prefer),
    agent: input.agent ?? null,
  };
  // In one transaction: of two equal starts at once one finds the loop of the other.
  return db.transaction().execute(async (trx) => {
    const same = await findSameLoop(trx, variant, settings);
    return same ?? (await createLoop(trx, variant, settings, clock.nowMs())).loopId;
  });
}

/** A start that is repeated, as clients do after a time-out, finds the loop that it already started. */
async function findSameLoop(db: Trx, variant: Variant, settings: LoopSettings): Promise<string | undefined> {
  for (const loop of await loadLoops(db, { limit: 20 })) {
    const isOpen = loop.state === 'running' || loop.state === 'needs_proposals';
    const { budgetAtomic: _own, ...own } = loop.settings;
    const { budgetAtomic: _asked, ...asked } = settings;
    const isSame = loop.rootHash === variant.trainHash && isDeepStrictEqual(own, asked);
    if (isOpen && isSame && (await loadProgress(db, loop.loopId)).roundsStarted === 0 && loop.queue.length === 0)
      return loop.loopId;
  }
  return undefined;
}

function readPreferred(text: string): string {
  const endpoint = normalizeEndpoint(text);
  if (endpoint !== null) return endpoint;
  throw new InputError(
    'bad_endpoint',
    `${JSON.stringify(text.slice(0, 200))} is not the address of a worker.`,
    'Give prefer a full address such as https://host/services/autoresearch-worker.',
  );
}

/** A proposal that was not queued, and why. */
export interface RefusedProposal {
  readonly proposal: number;
  readonly code: string;
  readonly reason: string;
  readonly next_step: string;
}

/**
 * Queues proposals; each stands or falls alone.
 * @throws NotFoundError, InputError when the loop takes none
 */
export async function continueLoop(
  services: Services,
  loopId: string,
  proposals: readonly Proposal[],
): Promise<RefusedProposal[]> {
  const { db, clock } = services;
  const loop = await requireLoop(services, loopId);
  if (loop.state !== 'running' && loop.state !== 'needs_proposals') {
    throw new InputError(
      'loop_over',
      `${loopId} is ${loop.state} and takes no proposals. Nothing was submitted.`,
      'Start another loop with run_loop {"action": "start"}.',
    );
  }
  const progress = await loadProgress(db, loopId);
  const champion = await loadChampion(db, loop.rootHash, loopId);
  const bases = { champion: champion?.experimentId ?? loop.rootHash, baseline: loop.rootHash };
  const seen = new Map<string, string>(progress.runs.map((run) => [run.variantHash, run.experimentId]));
  const queued: QueuedProposal[] = [];
  const refused: RefusedProposal[] = [];
  for (const [index, proposal] of proposals.entries()) {
    try {
      const variant = await resolveProposal(services, proposal, bases);
      assertNew(variant, seen, progress.runs);
      seen.set(variant.variantHash, `proposal ${index + 1}`);
      await db.transaction().execute((trx) => saveSource(trx, variant.trainHash, variant.source, clock.nowMs()));
      queued.push(toQueued(variant, proposal));
    } catch (error) {
      if (!(error instanceof CoordinatorError)) throw error;
      refused.push({ proposal: index + 1, code: error.code, reason: error.message, next_step: error.nextStep });
    }
  }
  if (queued.length > 0) {
    await updateLoop(db, loopId, clock.nowMs(), (now) => ({
      state: 'running',
      reason: null,
      queue: [...now.queue, ...queued],
    }));
  }
  return refused;
}

function resolveProposal(
  { db }: Services,
  proposal: Proposal,
  bases: { champion: string; baseline: string },
): Promise<Variant> {
  const { base, edits, train_py, config } = proposal;
  const isWhole = train_py !== undefined;
  return resolveVariant(db, isWhole ? { train_py, edits, config } : { base: base ?? 'champion', edits, config }, bases);
}

function toQueued({ trainHash, parentHash, config, description }: Variant, proposal: Proposal): QueuedProposal {
  return { trainHash, parentHash, config, description, hypothesis: proposal.hypothesis ?? null };
}

/** The same effective variant teaches nothing: its earlier result is the answer. */
function assertNew(variant: Variant, seen: ReadonlyMap<string, string>, runs: readonly Experiment[]): void {
  const earlier = seen.get(variant.variantHash);
  if (earlier === undefined) return;
  const run = runs.find(({ experimentId }) => experimentId === earlier);
  const gave = run?.valBpb == null ? (run ? `is ${run.state}` : 'is in the queue') : `gave val_bpb ${run.valBpb}`;
  throw new InputError(
    'duplicate_variant',
    `The same variant ${gave} as ${earlier}. Nothing was submitted.`,
    'Propose something that was not tried yet.',
  );
}

/** Stops a loop: what is running ends and is paid as agreed, nothing new starts. */
export async function stopLoop(services: Services, loopId: string): Promise<void> {
  const { db, clock } = services;
  await requireLoop(services, loopId);
  await updateLoop(db, loopId, clock.nowMs(), (loop) =>
    loop.state === 'running' || loop.state === 'needs_proposals' ? { state: 'stopped', queue: [] } : null,
  );
}

async function requireLoop({ db }: Services, loopId: string): Promise<Loop> {
  const loop = await loadLoop(db, loopId);
  if (loop) return loop;
  throw new NotFoundError('loop', loopId, 'Use a loop_id that run_loop gave; get_status lists the latest.');
}

/** Shows a loop, waiting at most so many seconds until it needs its caller or has something new. */
export async function followLoop(
  services: Services,
  runner: RunnerStarter,
  loopId: string,
  waitSeconds: number,
  call: CallContext,
  refused: readonly RefusedProposal[],
) {
  const { db } = services;
  let shown = '';
  await waitUntil(
    async () => {
      const loop = await requireLoop(services, loopId);
      const progress = await loadProgress(db, loopId);
      if (loop.state === 'running' || progress.inFlight > 0) await runner.ensure(services);
      const text = `${loopId}: ${loop.state}, ${progress.roundsDone} of ${loop.settings.rounds} rounds done, ${progress.inFlight} running`;
      if (text !== shown) call.onProgress?.(text);
      shown = text;
      return loop.state !== 'running' && (progress.inFlight === 0 || loop.state === 'needs_proposals');
    },
    (isDone) => isDone,
    waitSeconds,
    call.signal,
  );
  return viewLoop(services, await requireLoop(services, loopId), refused);
}

const SHOWN_RESULTS = 12;

async function viewLoop(services: Services, loop: Loop, refused: readonly RefusedProposal[]) {
  const { db, clock } = services;
  const [progress, champion, ledger] = await Promise.all([
    loadProgress(db, loop.loopId),
    loadChampion(db, loop.rootHash, loop.loopId),
    sumLedger(db, clock.nowMs(), loop.loopId),
  ]);
  const usedAtomic = ledger.spentAtomic + ledger.heldAtomic;
  const remainingAtomic = usedAtomic > loop.settings.budgetAtomic ? 0n : loop.settings.budgetAtomic - usedAtomic;
  const isWaiting = loop.state === 'needs_proposals';
  return {
    loop_id: loop.loopId,
    state: loop.state,
    summary: summarise(loop, progress),
    rounds_done: progress.roundsDone,
    rounds: loop.settings.rounds,
    queued: loop.queue.length,
    in_flight: progress.inFlight,
    extra_runs: progress.runs.filter((run) => run.role !== 'round' && isOver(run)).length,
    ...(champion ? { best: { experiment_id: champion.experimentId, val_bpb: champion.valBpb, verified: false } } : {}),
    ...(progress.baseline?.valBpb == null ? {} : { baseline_val_bpb: progress.baseline.valBpb }),
    spent_usdc: formatUsd(ledger.spentAtomic),
    reserved_usdc: formatUsd(ledger.heldAtomic),
    remaining_usdc: formatUsd(remainingAtomic),
    results: progress.runs.slice(-SHOWN_RESULTS).map(viewRun),
    results_left_out: Math.max(0, progress.runs.length - SHOWN_RESULTS),
    ...(refused.length > 0 ? { refused: [...refused] } : {}),
    ...(loop.reason ? { reason: loop.reason.text, reason_code: loop.reason.code } : {}),
    ...(isWaiting ? { think: await renderLoopThink(services, loop.loopId, null) } : {}),
    next_step: nextStep(loop),
  };
}

function viewRun(run: Experiment) {
  return {
    experiment_id: run.experimentId,
    state: run.state,
    description: run.description,
    ...(run.round === null ? {} : { round: run.round }),
    ...(run.valBpb === null ? {} : { val_bpb: run.valBpb }),
    ...(run.judgement ? { verdict: run.judgement.verdict } : {}),
    ...(run.workerEndpoint === null ? {} : { worker_endpoint: run.workerEndpoint }),
    ...(run.reason ? { reason_code: run.reason.code } : {}),
  };
}

function summarise(loop: Loop, { roundsDone, inFlight, runs }: LoopProgress): string {
  const scored = runs.filter((run) => run.valBpb !== null).length;
  return `${roundsDone} of ${loop.settings.rounds} rounds done, ${inFlight} running, ${loop.queue.length} queued; ${scored} of ${runs.length} runs gave a score.`;
}

function nextStep({ state, loopId, reason }: Loop): string {
  switch (state) {
    case 'needs_proposals':
      return `Read think, then run_loop {"action": "continue", "loop_id": "${loopId}", "proposals": [...]}.`;
    case 'running':
      return `Wait with run_loop {"action": "status", "loop_id": "${loopId}", "wait_seconds": 40}.`;
    case 'finished':
    case 'stopped':
      return 'See the ranking with get_leaderboard, or start another loop.';
    case 'budget_exhausted':
    case 'failed':
      return reason?.nextStep ?? 'Start another loop.';
  }
}

/** The THINK text of a loop: one renderer for prompt, tool and resource. @throws NotFoundError */
export async function renderLoopThink(services: Services, loopId: string, focus: string | null): Promise<string> {
  const { db, clock } = services;
  const loop = await requireLoop(services, loopId);
  const [progress, champion, sigma, ledger, rootSource] = await Promise.all([
    loadProgress(db, loopId),
    loadChampion(db, loop.rootHash, loopId),
    loadSigma(db, loop.rootHash),
    sumLedger(db, clock.nowMs(), loopId),
    loadSource(db, loop.rootHash),
  ]);
  const usedAtomic = ledger.spentAtomic + ledger.heldAtomic;
  return renderThink({
    loopId,
    rootHash: loop.rootHash,
    champion: champion ? await withSource(services, champion) : null,
    baseline: progress.baseline,
    rootSource: rootSource ?? '',
    runs: progress.runs.filter(isOver),
    sigma,
    roundsDone: progress.roundsDone,
    rounds: loop.settings.rounds,
    spentAtomic: ledger.spentAtomic,
    remainingAtomic: usedAtomic > loop.settings.budgetAtomic ? 0n : loop.settings.budgetAtomic - usedAtomic,
    parallel: loop.settings.parallel,
    focus,
  });
}

async function withSource({ db }: Services, reference: NonNullable<Awaited<ReturnType<typeof loadChampion>>>) {
  const experiment = await loadExperiment(db, reference.experimentId);
  const source = experiment && (await loadSource(db, experiment.trainHash));
  return experiment && source !== undefined ? { reference, experiment, source } : null;
}

/**
 * THINK for whoever asks without naming a loop: of the latest one that wants proposals, else how to begin.
 * @throws NotFoundError when a named loop does not exist
 */
export async function renderThinkPrompt(
  services: Services,
  loopId: string | null,
  trainPath: string | null,
  focus: string | null,
): Promise<string> {
  if (loopId !== null) return renderLoopThink(services, loopId, focus);
  const loops = trainPath === null ? await loadLoops(services.db, { limit: 20 }) : [];
  const open = loops.find(({ state }) => state === 'needs_proposals') ?? loops.find(({ state }) => state === 'running');
  if (open) return renderLoopThink(services, open.loopId, focus);
  const script = trainPath === null ? '"train_py": "<whole source>"' : `"train_path": ${JSON.stringify(trainPath)}`;
  return [
    '# Start an experiment loop',
    'There is no open loop. Each experiment runs one variant of a train.py on a paid GPU worker; the score is val_bpb, lower is better.',
    'See what it may cost with get_status and discover_workers {"with_prices": true}, then start:',
    `run_loop {"action": "start", ${script}, "rounds": 5}`,
    'The unchanged script runs first. The answer then holds `think`: everything needed to design the next variants.',
    ...(focus === null ? [] : [`Focus asked for: ${focus}`]),
  ].join('\n');
}
