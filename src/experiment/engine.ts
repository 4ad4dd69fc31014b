import type { Log } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import { Drive, type DriverPorts } from './drive.ts';
import type { Experiment } from './experiment.ts';
import { judgeStep, publishStep } from './finish-step.ts';
import { jobStep } from './job-step.ts';
import { LeaseLostError } from './journal.ts';
import { acquireLeases, releaseSlots } from './leases.ts';
import { sendStep, signStep } from './pay-step.ts';
import { quoteStep } from './quote-step.ts';
import { recoverStep } from './recover-step.ts';

/** More at once than any loop asks for; each waits most of its time. */
const MAX_ACTIVE = 128;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;

/** Drives every unfinished experiment of the store towards its end, from wherever a crash left it. */
export class ExperimentEngine {
  readonly #ports: DriverPorts;
  readonly #owner: string;
  readonly #stopping = new AbortController();
  readonly #active = new Map<string, Promise<void>>();

  /** @param owner name of this process in leases */
  constructor(ports: DriverPorts, owner: string) {
    this.#ports = ports;
    this.#owner = owner;
  }

  get activeCount(): number {
    return this.#active.size;
  }

  /** Takes up what is new or was left by a dead process. */
  async tick(): Promise<void> {
    const free = MAX_ACTIVE - this.#active.size;
    if (free <= 0 || this.#stopping.signal.aborted) return;
    const { db, clock } = this.#ports;
    for (const lease of await acquireLeases(db, this.#owner, clock.nowMs(), free, [...this.#active.keys()])) {
      const drive = new Drive(this.#ports, lease, this.#stopping.signal);
      this.#active.set(
        lease.experimentId,
        run(drive, this.#ports.log).finally(() => this.#active.delete(lease.experimentId)),
      );
    }
  }

  /** Stops at the next durable state; requests in flight are broken off, which costs nothing but time. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#active.values());
  }
}

async function run(drive: Drive, log: Log): Promise<void> {
  let retryMs = FIRST_RETRY_MS;
  while (!drive.signal.aborted) {
    try {
      if (await step(drive)) break;
      retryMs = FIRST_RETRY_MS;
    } catch (error) {
      if (error instanceof LeaseLostError) return;
      log.error({ experiment: drive.lease.experimentId, error }, 'a step failed; it is tried again');
      await sleep(retryMs, drive.signal);
      retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
    }
  }
}

/** Takes one step. @returns true at the end of the experiment's life */
async function step(drive: Drive): Promise<boolean> {
  const experiment = await drive.load();
  if (experiment.finishedAtMs !== null) {
    await releaseSlots(drive.ports.db, experiment.experimentId);
    return true;
  }
  await takeStep(drive, experiment);
  return false;
}

async function takeStep(drive: Drive, experiment: Experiment): Promise<void> {
  switch (experiment.state) {
    case 'drafted':
      await drive.advance('claimed', {});
      return;
    case 'claimed':
      return quoteStep(drive, experiment);
    case 'quoted':
      // A crash came between the quote and the reservation: prices are asked again.
      await drive.advance('claimed', {});
      return;
    case 'reserved':
      return signStep(drive, experiment);
    case 'signed':
      return sendStep(drive, experiment);
    case 'sent':
      return recoverStep(drive, experiment);
    case 'returned':
      return judgeStep(drive, experiment);
    case 'judged':
      return publishStep(drive, experiment);
    case 'accepted':
      return jobStep(drive, experiment);
    case 'published':
    case 'refused':
    case 'failed':
    case 'unpaid':
    case 'lost':
    case 'cancelled':
      return;
  }
}
