import { createHmac, randomBytes } from 'node:crypto';
import type { Clock } from '../base/time.ts';
import type { Experiment } from '../experiment/experiment.ts';
import { draftExperiment } from '../experiment/journal.ts';
import { loadTask } from '../experiment/lineage-task.ts';
import type { Task } from '../experiment/task-schema.ts';
import { loadLoopMoney, type SharedCaps } from '../payment/budget.ts';
import { type Db, loadMasterSecret } from '../store/database.ts';
import { findChampion } from './champion.ts';
import { loadScoredRuns } from './evidence.ts';
import { draftExtra } from './extra-draft.ts';
import { type Extra, isOpen } from './extra-facts.ts';
import { countPatience } from './extra-wait.ts';
import { findUnconfirmable, planExtras } from './extras.ts';
import type { Loop } from './loop.ts';
import { settleScope } from './ruling.ts';
import { loadStandings } from './standing.ts';
import { loadTitles } from './titles.ts';

/** What a look at a loop's results has shown. */
export interface Review {
  /** Extra runs that were started. */
  readonly started: number;
  /** Score of the champion; null before the first. */
  readonly championValBpb: number | null;
}

/** So many runs at the usual price are kept for confirmations, beside those that may start meanwhile. */
const KEPT_RUNS = 6;

interface Plan {
  readonly task: Task;
  readonly extras: readonly Extra[];
  readonly championValBpb: number | null;
}

/** Runs again what has to be run again: would-be champions, audits, contradictions, and workers on probation. */
export class AuditEngine {
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #caps: SharedCaps | null;
  #secret: Promise<string> | undefined;
  /** Loop, and whether findings can wait → what is to be run again, and what that follows from: nothing changes between two results. */
  readonly #plans = new Map<string, { readonly signature: string; readonly plan: Plan }>();

  /** @param caps limits of what may be paid beside a loop's own budget; null: none */
  constructor(db: Db, clock: Clock, caps: SharedCaps | null) {
    this.#db = db;
    this.#clock = clock;
    this.#caps = caps;
  }

  /**
   * Settles the title and starts extra runs.
   * @param experiments all runs of the loop, oldest first
   * @param room how many runs may start
   * @param isEnd whether no proposal is to be expected that what was found could wait for
   */
  async review(loop: Loop, experiments: readonly Experiment[], room: number, isEnd: boolean): Promise<Review> {
    const ended = experiments.filter((run) => !isOpen(run)).length;
    const signature = `${experiments.length} ${ended}`;
    // What others pay meanwhile counts, too.
    const canWait = !isEnd && !(await this.#isShortOfMoney(loop, this.#clock.nowMs()));
    const key = `${loop.loopId} ${canWait}`;
    const known = this.#plans.get(key);
    const plan = known?.signature === signature ? known.plan : await this.#plan(loop, experiments, canWait);
    this.#plans.set(key, { signature, plan });
    let started = 0;
    for (const extra of plan.extras.slice(0, Math.max(0, room))) {
      if (await this.#start(loop, experiments, extra, plan.task)) started += 1;
    }
    return { started, championValBpb: plan.championValBpb };
  }

  async #plan(loop: Loop, experiments: readonly Experiment[], canWait: boolean): Promise<Plan> {
    const { rootHash, loopId, settings } = loop;
    const nowMs = this.#clock.nowMs();
    const [task, runs, standings, secret] = await Promise.all([
      loadTask(this.#db, rootHash),
      loadScoredRuns(this.#db, { rootHash, scope: loop.loopId }),
      loadStandings(this.#db, nowMs),
      this.#loadSecret(),
    ]);
    if (findUnconfirmable(experiments, runs).size > 0)
      await this.#db.transaction().execute((trx) => settleScope(trx, loop, task, nowMs));
    const titles = await loadTitles(this.#db, { scope: loopId });
    const probation = [...standings].flatMap(([endpoint, { state, offences }]) =>
      state === 'probation' ? [{ endpoint, offences }] : [],
    );
    const extras = planExtras({
      task,
      experiments,
      runs,
      titles,
      loopId,
      rounds: settings.rounds,
      auditShare: settings.auditShare,
      patience: countPatience(settings.parallel, !canWait),
      draw: (experimentId) => drawShare(secret, loopId, experimentId),
      probation,
    });
    return { task, extras, championValBpb: findChampion(titles, runs, task)?.valBpb ?? null };
  }

  async #start(loop: Loop, experiments: readonly Experiment[], extra: Extra, task: Task): Promise<boolean> {
    const of = experiments.find(({ experimentId }) => experimentId === extra.of);
    if (!of) return false;
    const draft = await draftExtra(this.#db, loop, extra, of, task.seedKnob);
    if (!draft) return false;
    // One key, one experiment: what a dead process has drafted is found, not paid again.
    return (await draftExperiment(this.#db, draft, this.#clock.nowMs())).isNew;
  }

  /** Whether what the limits leave may be needed to confirm what was found. */
  async #isShortOfMoney({ loopId, settings }: Loop, nowMs: number): Promise<boolean> {
    const loop = { loopId, budgetAtomic: settings.budgetAtomic };
    const { payments, usedAtomic, leftAtomic } = await loadLoopMoney(this.#db, loop, this.#caps, nowMs);
    return leftAtomic * BigInt(payments) < usedAtomic * BigInt(settings.parallel + KEPT_RUNS);
  }

  #loadSecret(): Promise<string> {
    this.#secret ??= loadMasterSecret(this.#db, () => randomBytes(32).toString('hex'));
    return this.#secret;
  }
}

/** Draws the lot of an experiment, from 0 to 1: the same at every look, and foreseen by nobody without the secret. */
export function drawShare(secret: string, loopId: string, experimentId: string): number {
  const digest = createHmac('sha256', secret).update(`audit ${loopId} ${experimentId}`).digest();
  return digest.readUInt32BE(0) / 2 ** 32;
}
