import type { Log } from '../base/log.ts';
import type { Clock } from '../base/time.ts';
import { type Experiment, loadExperiments, NO_CONSENT, type Reason } from '../experiment/experiment.ts';
import { type Draft, draftExperiment, draftWithin } from '../experiment/journal.ts';
import { hashVariant } from '../experiment/variant.ts';
import type { SharedCaps } from '../payment/budget.ts';
import { loadSource } from '../provenance/sources.ts';
import type { Db } from '../store/database.ts';
import { AuditEngine } from './audit-engine.ts';
import { isExtraRun, isOpen } from './extra-facts.ts';
import { type Loop, loadLoops, type QueuedProposal, updateLoop } from './loop.ts';
import { findStop } from './stop-rules.ts';

/** More than one loop ever has. */
const MAX_RUNS = 10_000;
/** A loop whose unchanged script gives no score this often has nothing to compare with. */
const MAX_BASELINE_TRIES = 2;

/**
 * The proposals of so many waves before the end of a loop start ahead of extra runs, which then fill the workers that the
 * last proposals leave free: none of these waits for what an extra run shows, but extra runs wait for what these show.
 * Not where a target may make the rest needless.
 */
const LAST_WAVES = 2;

/** How many free workers are kept for proposals rather than extra runs. */
function countReserved({ settings, queue }: Loop, { roundsStarted }: LoopProgress): number {
  const left = settings.rounds - roundsStarted;
  const isEnd = queue.length >= left && left <= LAST_WAVES * (settings.parallel - 1);
  return isEnd && settings.targetValBpb === null ? left : 0;
}

/** Whether what was found does not wait for further proposals: there are none, or time or a target may end the loop. */
function isEnding({ settings }: Loop, { roundsStarted }: LoopProgress): boolean {
  return roundsStarted >= settings.rounds || settings.deadlineMs !== null || settings.targetValBpb !== null;
}

/** Where a loop stands, derived from its experiments. */
export interface LoopProgress {
  readonly runs: readonly Experiment[];
  /** Proposals that are over, whatever came of them. */
  readonly roundsDone: number;
  readonly roundsStarted: number;
  readonly inFlight: number;
  readonly baseline: Experiment | null;
}

/** Reads a loop's progress from its experiments. */
export async function loadProgress(db: Db, loopId: string): Promise<LoopProgress> {
  const runs = (await loadExperiments(db, { loopId, limit: MAX_RUNS })).toReversed();
  const rounds = runs.filter((run) => run.role === 'round');
  return {
    runs,
    roundsDone: rounds.filter(isOver).length,
    roundsStarted: rounds.length,
    inFlight: runs.filter((run) => !isOver(run)).length,
    baseline: runs.findLast((run) => run.role === 'baseline') ?? null,
  };
}

/** Whether a run needs no worker any more: its verdict is there, or it will never come. */
export function isOver(run: Experiment): boolean {
  return !isOpen(run);
}

/**
 * Designs at most `room` experiments of a loop; none when nothing is left to try for now. Their sources are in the store.
 */
export type Designer = (loop: Loop, progress: LoopProgress, room: number, nowMs: number) => Promise<QueuedProposal[]>;

/** Moves every running loop on: its baseline, then its queued proposals, as many at once as it allows. */
export class LoopEngine {
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #design: Designer | null;
  readonly #audits: AuditEngine;

  /**
   * @param designer proposes for loops in mode auto; null: they ask their caller like the others
   * @param caps limits of what may be paid beside a loop's own budget; null: none
   */
  constructor(db: Db, clock: Clock, log: Log, designer: Designer | null = null, caps: SharedCaps | null = null) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#design = designer;
    this.#audits = new AuditEngine(db, clock, caps);
  }

  /** @returns how many loops are running */
  async tick(): Promise<number> {
    const loops = await loadLoops(this.#db, { isRunning: true, limit: 1_000 });
    for (const loop of loops) await this.#advance(loop);
    return loops.length;
  }

  async #advance(loop: Loop): Promise<void> {
    const progress = await loadProgress(this.#db, loop.loopId);
    const end = findEnd(progress);
    if (end) {
      // Too little for a round may be enough to confirm what the others have found.
      const isBroke = end.state === 'budget_exhausted';
      if (isBroke && (await this.#audits.review(loop, progress.runs, loop.settings.parallel, true)).started > 0) return;
      return this.#close(loop, end.state, end.reason);
    }
    const { baseline } = progress;
    if (!baseline || (isOver(baseline) && baseline.valBpb === null)) return this.#startBaseline(loop, progress);
    if (!isOver(baseline)) return;
    const nowMs = this.#clock.nowMs();
    const { settings } = loop;
    const free =
      settings.deadlineMs !== null && nowMs >= settings.deadlineMs ? 0 : settings.parallel - progress.inFlight;
    const { championValBpb } = await this.#audits.review(loop, progress.runs, 0, isEnding(loop, progress));
    const stop = findStop(loop, progress.runs, { nowMs, championValBpb });
    const reserved = stop ? 0 : countReserved(loop, progress);
    const isEnd = stop !== null || isEnding(loop, progress);
    const { started } = await this.#audits.review(loop, progress.runs, free - reserved, isEnd);
    const inFlight = progress.inFlight + started;
    if (stop) return inFlight > 0 ? undefined : this.#close(loop, 'finished', stop);
    const room = Math.min(free - started, settings.rounds - progress.roundsStarted);
    if (room > 0 && loop.queue.length > 0) return this.#startRounds(loop, progress.roundsStarted, room);
    if (room > 0 && this.#design && settings.mode === 'auto' && (await this.#queueDesigned(loop, progress, room)))
      return;
    if (inFlight > 0) return;
    // Nothing new came: what waited for it is confirmed now.
    if ((await this.#audits.review(loop, progress.runs, free, true)).started > 0) return;
    if (progress.roundsDone >= settings.rounds) return this.#close(loop, 'finished', null);
    if (this.#design && settings.mode === 'auto') return this.#close(loop, 'finished', NOTHING_LEFT);
    await this.#close(loop, 'needs_proposals', null);
  }

  /** Queues what the designer proposes. @returns whether it proposed anything */
  async #queueDesigned(loop: Loop, progress: LoopProgress, room: number): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    const designed = (await this.#design?.(loop, progress, room, nowMs)) ?? [];
    if (designed.length === 0) return false;
    await updateLoop(this.#db, loop.loopId, nowMs, (now) =>
      now.state === 'running' && now.queue.length === 0 ? { queue: designed } : null,
    );
    return true;
  }

  async #startBaseline(loop: Loop, { runs }: LoopProgress): Promise<void> {
    const tries = runs.filter((run) => run.role === 'baseline').length;
    const proposal = {
      trainHash: loop.baselineHash,
      parentHash: null,
      config: {},
      description: 'baseline',
      hypothesis: null,
    };
    const draft = await this.#build(loop, proposal, { role: 'baseline', round: null }, `baseline-${tries + 1}`);
    await draftExperiment(this.#db, draft, this.#clock.nowMs());
  }

  async #startRounds(loop: Loop, started: number, room: number): Promise<void> {
    const proposals = loop.queue.slice(0, room);
    const drafts: Draft[] = [];
    for (const [index, proposal] of proposals.entries()) {
      const round = started + index + 1;
      drafts.push(await this.#build(loop, proposal, { role: 'round', round }, `round-${round}`));
    }
    const nowMs = this.#clock.nowMs();
    // Drafted and taken from the queue in one step: a crash between the two would run, and pay, a proposal twice.
    await updateLoop(
      this.#db,
      loop.loopId,
      nowMs,
      (now) => (startsWith(now.queue, proposals) ? { queue: now.queue.slice(proposals.length) } : null),
      async (trx) => {
        for (const draft of drafts) await draftWithin(trx, draft, nowMs);
      },
    );
  }

  async #build(
    loop: Loop,
    proposal: QueuedProposal,
    place: { role: 'baseline' | 'round'; round: number | null },
    key: string,
  ): Promise<Draft> {
    const source = await loadSource(this.#db, proposal.trainHash);
    if (source === undefined) throw new TypeError(`source ${proposal.trainHash} is missing`);
    const { settings, loopId } = loop;
    const variantHash = hashVariant(proposal.trainHash, proposal.config);
    return {
      variant: { ...proposal, source, variantHash },
      subject: variantHash,
      workerRequest: 'auto',
      quoteId: null,
      maxPriceAtomic: settings.maxPriceAtomic,
      consent: NO_CONSENT,
      idempotencyKey: `${loopId}/${key}`,
      hypothesis: proposal.hypothesis,
      agent: settings.agent,
      loop: { loopId, ...place },
    };
  }

  async #close(loop: Loop, state: Loop['state'], reason: Reason | null): Promise<void> {
    await updateLoop(this.#db, loop.loopId, this.#clock.nowMs(), (now) =>
      now.state === 'running' ? { state, reason } : null,
    );
    this.#log.info({ loop: loop.loopId, state }, 'loop changed');
  }
}

/** Every knob was moved in every way that the designer knows. */
const NOTHING_LEFT: Reason = {
  code: 'nothing_left',
  text: 'The built-in proposer has tried every change that it knows of.',
  nextStep: 'Start a loop in mode agent with the champion as train_py and ideas of your own, or see get_leaderboard.',
};

/** Whether a queue still begins with what was read from it: another process may have taken it meanwhile. */
function startsWith(queue: readonly QueuedProposal[], head: readonly QueuedProposal[]): boolean {
  return JSON.stringify(queue.slice(0, head.length)) === JSON.stringify(head);
}

/** Why a loop cannot go on, if it cannot. */
function findEnd({ runs, inFlight }: LoopProgress): { state: 'budget_exhausted' | 'failed'; reason: Reason } | null {
  if (inFlight > 0) return null;
  // What is beside the rounds may be too dear; the loop goes on without it.
  const broke = runs.find((run) => !isExtraRun(run) && run.state === 'refused' && run.reason?.code === 'over_budget');
  if (broke?.reason) return { state: 'budget_exhausted', reason: broke.reason };
  const baselines = runs.filter((run) => run.role === 'baseline');
  const last = baselines.at(-1);
  if (!last || last.valBpb !== null || !isOver(last)) return null;
  // What nobody was paid for is no try of the script, but without a worker there is nothing to wait for.
  const isHopeless = last.state === 'refused' || last.state === 'failed' || baselines.length >= MAX_BASELINE_TRIES;
  if (!isHopeless) return null;
  const why = last.reason?.text ?? 'The unchanged script gave no score.';
  return {
    state: 'failed',
    reason: {
      code: 'baseline_failed',
      text: `The first, unchanged run gave no score to compare with. ${why}`,
      nextStep: last.reason?.nextStep ?? 'Run the script once yourself, mend it, and start another loop.',
    },
  };
}
