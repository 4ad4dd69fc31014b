import { join } from 'node:path';
import type { Hex } from 'viem';
import { isoTime } from '../base/time.ts';
import { createGate } from './gate.ts';
import type { Guardian } from './guardian.ts';
import { listen } from './listen.ts';
import { buildRegistration } from './registration.ts';
import { type Answerer, Worker } from './worker.ts';
import { createWorkerApp, WORKER_BASE_PATH } from './worker-server.ts';

/** What may differ from worker to worker; absent values come from a table by position. */
export interface WorkerOptions {
  readonly name?: string;
  /** Hardware as the registration states it. */
  readonly gpu?: string;
  /** Atomic USDC (1e-6) per experiment. */
  readonly priceAtomic?: bigint;
  /** Wall time that one run may take; default 120. */
  readonly timeoutSeconds?: number;
  /** Waited before each run: a slower worker, or one that a test holds busy. */
  readonly slowdownMs?: number;
  /** Address space of a run in MiB; default 4096. */
  readonly memoryLimitMb?: number;
  /** Makes a worker that does not tell the truth: what it answers instead of a run's result. Default: the result. */
  readonly answer?: Answerer;
}

/** A running worker of the local network. */
export interface LocalWorker {
  /** Base of its API, as its registration names it; `/experiment` comes after it. */
  readonly workerEndpoint: string;
  /** Its registration file, the agentURI on the chain. */
  readonly registrationUri: string;
  readonly payTo: Hex;
  /** Atomic USDC per experiment. */
  readonly priceAtomic: bigint;
  readonly agentId: bigint;
  /** Training runs started so far, paid or not. */
  runCount(): number;
  isBusy(): boolean;
  /** Kills its run and closes its port; the registration stays on the chain. */
  stop(): Promise<void>;
}

export interface WorkerPlace {
  readonly guardian: Guardian;
  readonly python: string;
  readonly facilitatorUrl: string;
  /** Position in the network: decides the defaults. */
  readonly index: number;
  readonly owner: Hex;
}

/** A worker that listens but is not yet registered. */
export interface ListeningWorker {
  readonly registrationUri: string;
  /** Completes the registration file with the id that the chain gave. */
  complete(agentId: bigint): LocalWorker;
  stop(): Promise<void>;
}

// Dear and fast, cheap and slow: a choice between them is a real one.
const DEFAULTS = [
  { name: 'Local worker Alpha', priceAtomic: 50_000n, slowdownMs: 150 },
  { name: 'Local worker Bravo', priceAtomic: 80_000n, slowdownMs: 0 },
  { name: 'Local worker Charlie', priceAtomic: 30_000n, slowdownMs: 400 },
  { name: 'Local worker Delta', priceAtomic: 60_000n, slowdownMs: 100 },
  { name: 'Local worker Echo', priceAtomic: 40_000n, slowdownMs: 300 },
] as const;
const DEFAULT_TIMEOUT_SECONDS = 120;
// Above what numpy with OpenBLAS reserves on a machine of many cores.
const DEFAULT_MEMORY_LIMIT_MB = 4_096;

/** Starts one worker's server: API, gate and registration file. */
export async function startWorker(place: WorkerPlace, options: WorkerOptions): Promise<ListeningWorker> {
  const { guardian, index, owner } = place;
  const preset = DEFAULTS[index % DEFAULTS.length] ?? DEFAULTS[0];
  const number = index < DEFAULTS.length ? '' : ` ${index + 1}`;
  const priceAtomic = options.priceAtomic ?? preset.priceAtomic;
  const worker = new Worker(guardian, join(guardian.folder, 'workers', String(index)), {
    python: place.python,
    timeoutSeconds: options.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS,
    slowdownMs: options.slowdownMs ?? preset.slowdownMs,
    memoryLimitMb: options.memoryLimitMb ?? DEFAULT_MEMORY_LIMIT_MB,
    answer: options.answer ?? ((result) => result),
  });
  const startedAt = isoTime(Date.now());
  let agentId: bigint | undefined;
  let workerEndpoint = '';
  const readRegistration = () =>
    buildRegistration({
      name: options.name ?? `${preset.name}${number}`,
      gpu: options.gpu ?? 'this computer (CPU)',
      workerEndpoint,
      priceAtomic,
      agentId,
      bestValBpb: worker.best?.val_bpb ?? null,
      updated: worker.best?.finishedAt ?? startedAt,
    });
  const gate = createGate(place.facilitatorUrl, owner, priceAtomic);
  const server = await listen(`worker ${index + 1}`, createWorkerApp(worker, gate, readRegistration));
  workerEndpoint = `${server.origin}${WORKER_BASE_PATH}`;
  const registrationUri = `${server.origin}/.well-known/agent-registration.json`;
  const stop = async () => {
    worker.stop();
    await server.close();
  };
  return {
    registrationUri,
    stop,
    complete: (id) => {
      agentId = id;
      return {
        workerEndpoint,
        registrationUri,
        payTo: owner,
        priceAtomic,
        agentId: id,
        stop,
        runCount: () => worker.runCount,
        isBusy: () => worker.current !== null,
      };
    },
  };
}
