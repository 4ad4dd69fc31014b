import type { Log } from '../base/log.ts';
import { type Clock, sleep } from '../base/time.ts';
import { type Attempt, loadAttempt } from '../payment/attempt.ts';
import type { Caps } from '../payment/budget.ts';
import type { PaymentDesk } from '../payment/desk.ts';
import type { Db, Trx } from '../store/database.ts';
import type { WorkerClient } from '../worker/client.ts';
import type { RunResult } from '../worker/result.ts';
import { type Experiment, type Judgement, loadExperiment, type Reason } from './experiment.ts';
import { advance, type Change, type Lease, LeaseLostError } from './journal.ts';
import { releaseSlots } from './leases.ts';
import { SearchMemory } from './search-memory.ts';
import type { ExperimentState } from './states.ts';

/** Where an experiment is to run. */
export type WorkerPick =
  | { readonly kind: 'worker'; readonly endpoint: string; readonly workerId: string | null; readonly choice: string }
  /** All that would do are taken: ask again. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'none'; readonly reason: Reason };

/** How patient the driver is, in milliseconds. */
export interface Patience {
  /** Between two looks at something that takes its time. */
  readonly pollMs: number;
  /** How long a worker may answer "busy" to a signed payment before another one is tried beside it. */
  readonly busyMs: number;
  /** How long an experiment waits for a free worker before it is refused. */
  readonly queueMs: number;
  /** How long a paid result that the worker does not have is looked for. */
  readonly lostMs: number;
}

export const DEFAULT_PATIENCE: Patience = { pollMs: 1_000, busyMs: 20_000, queueMs: 15 * 60_000, lostMs: 15 * 60_000 };

/** A judgement with what follows from it. */
export interface Ruling {
  readonly judgement: Judgement;
  /** Written in the same step as the judgement. */
  readonly enact: (trx: Trx) => Promise<void>;
}

/** What the driver is given to work with. */
export interface DriverPorts {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly worker: WorkerClient;
  readonly desk: PaymentDesk;
  readonly maxOverlap: number;
  readonly patience: Patience;
  readonly chooseWorker: (experiment: Experiment) => Promise<WorkerPick>;
  /** @param wallSeconds between our sending and the answer; null when the answer came another way */
  readonly judge: (experiment: Experiment, result: RunResult, wallSeconds: number | null) => Promise<Ruling>;
  /** Caps that hold for this experiment, its loop's included. */
  readonly capsOf: (experiment: Experiment) => Promise<Caps>;
}

/** One experiment in the hands of one process. */
export class Drive {
  readonly ports: DriverPorts;
  readonly lease: Lease;
  readonly signal: AbortSignal;
  readonly #memories = new Map<number, SearchMemory>();

  constructor(ports: DriverPorts, lease: Lease, signal: AbortSignal) {
    this.ports = ports;
    this.lease = lease;
    this.signal = signal;
  }

  get nowMs(): number {
    return this.ports.clock.nowMs();
  }

  /** The experiment as it is now. @throws LeaseLostError when it vanished */
  async load(): Promise<Experiment> {
    const experiment = await loadExperiment(this.ports.db, this.lease.experimentId);
    if (!experiment) throw new LeaseLostError(this.lease.experimentId);
    return experiment;
  }

  /** The newest attempt, read back from disk. */
  async loadAttempt(experiment: Experiment): Promise<Attempt> {
    const attempt = await loadAttempt(this.ports.db, experiment.experimentId, experiment.attempt);
    if (!attempt) throw new TypeError(`${experiment.experimentId} has no attempt ${experiment.attempt}`);
    return attempt;
  }

  /** What this process remembers of the search for an attempt's job. */
  memoryOf({ attempt }: Attempt): SearchMemory {
    const memory = this.#memories.get(attempt) ?? new SearchMemory();
    this.#memories.set(attempt, memory);
    return memory;
  }

  /** One durable step; see `advance`. */
  async advance(to: ExperimentState, change: Change, also?: (trx: Trx) => Promise<void>): Promise<Experiment> {
    const experiment = await advance(this.ports.db, this.lease, to, change, this.nowMs, also);
    this.ports.log.info(
      { experiment: experiment.experimentId, state: to, reason: change.reason?.code },
      'experiment advanced',
    );
    return experiment;
  }

  /** Ends an experiment for which nothing was spent. */
  async refuse(reason: Reason): Promise<void> {
    await this.advance('refused', { reason, settlement: 'none' });
    await releaseSlots(this.ports.db, this.lease.experimentId);
  }

  /** Waits; ends early when this process is to stop. */
  async pause(durationMs: number): Promise<void> {
    await sleep(durationMs, this.signal);
  }
}
