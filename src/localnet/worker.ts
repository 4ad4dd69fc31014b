import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '../base/hash.ts';
import { isoTime, sleep } from '../base/time.ts';
import type { Guardian } from './guardian.ts';
import type { Submission } from './submission.ts';
import { parseSummary } from './summary.ts';
import { runTraining, type TrainingOutcome } from './training-run.ts';

/** The worker's answer about one run, in the field's wire names (worker-api.md section 2). */
export interface WireResult {
  readonly experiment_id: string;
  readonly status: TrainingOutcome['status'];
  readonly return_code: number;
  readonly val_bpb: number | null;
  readonly train_hash: string;
  readonly artifact_path: null;
  readonly log_path: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly durationSeconds: number;
  readonly config: Readonly<Record<string, unknown>>;
  readonly metrics: Readonly<Record<string, number | string>> | null;
  readonly note?: string;
}

export interface WorkerSettings {
  readonly python: string;
  /** Wall time of one run. */
  readonly timeoutSeconds: number;
  /** Waited before each run: makes a slower worker. */
  readonly slowdownMs: number;
  readonly memoryLimitMb: number;
  readonly answer: Answerer;
}

/**
 * What a worker says about a run.
 * @param result what came out  @param earlier its results before, oldest first
 */
export type Answerer = (result: WireResult, earlier: readonly WireResult[]) => WireResult;

type Run = Extract<Submission, { kind: 'run' }>;

/** One machine that trains: a single experiment at a time, results kept as long as the network is up. */
export class Worker {
  readonly repo: string;
  readonly settings: WorkerSettings;
  readonly #guardian: Guardian;
  readonly #results = new Map<string, WireResult>();
  readonly #stopped = new AbortController();
  #current: { readonly experiment_id: string; readonly startedAt: string } | null = null;
  #last: WireResult | null = null;
  #best: WireResult | null = null;
  #runCount = 0;

  /** @param folder made here; holds all runs of this worker */
  constructor(guardian: Guardian, folder: string, settings: WorkerSettings) {
    this.repo = folder;
    this.settings = settings;
    this.#guardian = guardian;
    mkdirSync(join(folder, 'results'), { recursive: true });
  }

  get current() {
    return this.#current;
  }
  get last() {
    return this.#last;
  }
  /** The completed run with the lowest val_bpb. */
  get best() {
    return this.#best;
  }
  /** Runs started so far. */
  get runCount() {
    return this.#runCount;
  }

  findResult(experimentId: string): WireResult | undefined {
    return this.#results.get(experimentId);
  }

  /**
   * Runs one experiment to its end, whether or not anybody still waits for the answer. The caller has made sure that
   * nothing else runs.
   * @throws when the id was used before
   */
  async run(run: Run): Promise<WireResult> {
    const folder = join(this.repo, 'results', run.experimentId);
    if (existsSync(folder)) throw new Error(`[Errno 17] File exists: '${run.experimentId}'`);
    const startedMs = Date.now();
    this.#current = { experiment_id: run.experimentId, startedAt: isoTime(startedMs) };
    this.#runCount += 1;
    try {
      await sleep(this.settings.slowdownMs, this.#stopped.signal);
      if (this.#stopped.signal.aborted) throw new Error('the worker is shutting down');
      const outcome = await runTraining(this.#guardian, {
        ...run,
        ...this.settings,
        folder,
        signal: this.#stopped.signal,
      });
      const result = describeRun(run, outcome, startedMs, Date.now());
      return this.#keep(this.settings.answer(result, [...this.#results.values()]));
    } finally {
      this.#current = null;
    }
  }

  /** Kills the run in progress. */
  stop(): void {
    this.#stopped.abort();
  }

  #keep(result: WireResult): WireResult {
    this.#results.set(result.experiment_id, result);
    this.#last = result;
    if (result.val_bpb !== null && result.val_bpb < (this.#best?.val_bpb ?? Number.POSITIVE_INFINITY)) {
      this.#best = result;
    }
    return result;
  }
}

function describeRun(run: Run, outcome: TrainingOutcome, startedMs: number, finishedMs: number): WireResult {
  const summary = parseSummary(outcome.stdout);
  return {
    experiment_id: run.experimentId,
    status: outcome.status,
    return_code: outcome.returnCode,
    // A score of a crashed run would be a record for nothing.
    val_bpb: outcome.status === 'completed' ? summary.valBpb : null,
    train_hash: sha256(run.trainPy),
    artifact_path: null,
    log_path: outcome.logPath,
    startedAt: isoTime(startedMs),
    finishedAt: isoTime(finishedMs),
    durationSeconds: (finishedMs - startedMs) / 1_000,
    config: run.config,
    metrics: summary.metrics,
    ...(outcome.note === null ? {} : { note: outcome.note }),
  };
}
