import * as z from 'zod';
import { buildWorkerUrl } from '../base/endpoint.ts';
import { type Job, JobState, RETENTION_MS } from './job.ts';
import { parseTolerantJson } from './tolerant-json.ts';

/** Where a broker lists the jobs of a wallet, below the worker's endpoint (worker-api.md section 6). */
export const JOB_LIST_PATH = 'jobs';

/** One job of a broker's list. Which experiment it runs only its result tells. */
export interface ListedJob {
  readonly jobId: string;
  readonly state: JobState;
  /** Unix milliseconds, by the broker's clock. */
  readonly createdAtMs: number;
}

/** What a lost job is looked for by. */
export interface WantedJob {
  readonly wallet: `0x${string}`;
  /** Unix milliseconds between which the broker accepted it. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Brokers list at most this many. */
const MAX_ROWS = 100;

const List = z.looseObject({ wallet: z.string().max(64), jobs: z.array(z.unknown()) });
const Row = z.looseObject({
  // Addresses are made of it: nothing in it may be anything but one part of a path.
  jobId: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
  state: JobState,
  path: z.string().max(2_048),
  createdAt: z.string().max(64),
});

/**
 * Reads the list of a wallet's jobs.
 * @returns those that may be the wanted one, newest first; null when the answer is no list of this wallet's
 */
export function parseJobList(body: Uint8Array, wanted: WantedJob): ListedJob[] | null {
  const list = List.safeParse(parseTolerantJson(new TextDecoder().decode(body)));
  if (!list.success || list.data.wallet.toLowerCase() !== wanted.wallet.toLowerCase()) return null;
  const jobs = new Map<string, ListedJob>();
  for (const entry of list.data.jobs.slice(0, MAX_ROWS)) {
    const row = Row.safeParse(entry);
    if (!row.success || !/\/experiment$/.test(row.data.path)) continue;
    const { jobId, state, createdAt } = row.data;
    const createdAtMs = Date.parse(createdAt);
    if (createdAtMs >= wanted.fromMs && createdAtMs <= wanted.untilMs) jobs.set(jobId, { jobId, state, createdAtMs });
  }
  return [...jobs.values()].sort((one, other) => other.createdAtMs - one.createdAtMs);
}

/**
 * A listed job as it is followed: under addresses that we make ourselves, without a token.
 * @param sentAtMs when its submission was sent first, Unix milliseconds
 */
export function buildListedJob(endpoint: string, jobId: string, sentAtMs: number): Job {
  return {
    statusUrl: buildWorkerUrl(endpoint, `${JOB_LIST_PATH}/${jobId}`),
    resultUrl: buildWorkerUrl(endpoint, pathOfResult(jobId)),
    token: null,
    expiresAtMs: sentAtMs + RETENTION_MS,
  };
}

/** Where the result of a listed job is, below the worker's endpoint. */
export function pathOfResult(jobId: string): string {
  return `${JOB_LIST_PATH}/${jobId}/result`;
}

/** The id of a job by its address; null for an address that names none. */
export function readJobId(statusUrl: string): string | null {
  return /\/jobs\/([A-Za-z0-9_-]{1,128})$/.exec(new URL(statusUrl).pathname)?.[1] ?? null;
}

const Named = z.looseObject({ experiment_id: z.string() });

/** Whether a result names an experiment of ours: of a job that was found in a list nothing else tells that it is ours. */
export function namesExperiment(body: Uint8Array, workerExperimentId: string): boolean {
  const named = Named.safeParse(parseTolerantJson(new TextDecoder().decode(body)));
  return named.success && named.data.experiment_id === workerExperimentId;
}
