import * as z from 'zod';
import { buildExperimentUrl, buildWorkerUrl } from '../base/endpoint.ts';
import type { JsonObject } from '../base/json.ts';
import { NetworkError } from '../net/errors.ts';
import type { HttpAnswer, HttpClient } from '../net/http.ts';
import { type Job, type JobState, parseJobState } from './job.ts';
import { parseTolerantJson } from './tolerant-json.ts';

/** Largest answer of a worker that is read, in bytes. */
export const MAX_RESULT_BYTES = 1024 * 1024;
/** Results of jobs are stored by a broker, which may add to them. */
const MAX_JOB_RESULT_BYTES = 8 * 1024 * 1024;
const MAX_INFO_BYTES = 256 * 1024;
const INFO_DEADLINE_MS = 8_000;

export type ProbeAnswer =
  | {
      readonly kind: 'priced';
      readonly headers: Readonly<Record<string, string>>;
      readonly body: Buffer;
      readonly isProxied: boolean;
    }
  | { readonly kind: 'free'; readonly timeoutSeconds: number | null; readonly isBusy: boolean }
  | { readonly kind: 'unprobeable'; readonly status: number };

export interface WorkerHealth {
  readonly isBusy: boolean | null;
  /** Seconds after which the worker stops a run; null when it does not say. */
  readonly timeoutSeconds: number | null;
}

/** What a worker knows of an experiment that was sent to it. */
export type StoredRun =
  | { readonly kind: 'found'; readonly answer: HttpAnswer }
  | { readonly kind: 'running' }
  | { readonly kind: 'absent' }
  /** The routes that would tell are priced, closed or broken. */
  | { readonly kind: 'unknown' };

/** What a broker says when it is asked for a wallet's jobs. */
export type JobListAnswer =
  | { readonly kind: 'list'; readonly body: Buffer }
  | { readonly kind: 'sign_in' }
  /** There is no such list, or it costs something. */
  | { readonly kind: 'absent' }
  /** No usable answer this time. */
  | { readonly kind: 'unknown' };

const Info = z.looseObject({
  busy: z.boolean().optional().catch(undefined),
  probe: z.boolean().optional().catch(undefined),
  timeoutSeconds: z.number().positive().max(1e6).optional().catch(undefined),
});
const Status = z.looseObject({ current: z.looseObject({ experiment_id: z.string() }).nullish().catch(undefined) });

/** The HTTP API of a worker (worker-api.md). It pays nothing by itself: `submit` sends the header that it is given. */
export class WorkerClient {
  readonly #http: HttpClient;

  constructor(http: HttpClient) {
    this.#http = http;
  }

  /**
   * Asks for the price without payment and without the source: a worker without a gate would run it.
   * @throws NetworkError when the worker cannot be reached
   */
  async probe(endpoint: string, signal?: AbortSignal): Promise<ProbeAnswer> {
    const answer = await this.#http.request({
      url: buildExperimentUrl(endpoint),
      method: 'POST',
      body: '{"probe":true}',
      headers: { 'content-type': 'application/json' },
      maxBytes: MAX_INFO_BYTES,
      deadlineMs: INFO_DEADLINE_MS,
      ...(signal ? { signal } : {}),
    });
    if (answer.status === 402) {
      const isProxied = answer.headers['cf-ray'] !== undefined || answer.headers.server === 'cloudflare';
      return { kind: 'priced', headers: answer.headers, body: answer.body, isProxied };
    }
    const info = Info.safeParse(parseBody(answer));
    if (answer.status === 200 && info.success && info.data.probe === true) {
      return { kind: 'free', timeoutSeconds: info.data.timeoutSeconds ?? null, isBusy: info.data.busy ?? false };
    }
    return { kind: 'unprobeable', status: answer.status };
  }

  /** Asks a worker how it is, on its free route; null when it does not say or cannot be reached. */
  async fetchHealth(endpoint: string, signal?: AbortSignal): Promise<WorkerHealth | null> {
    const answer = await this.#get(endpoint, 'health', signal);
    const info = Info.safeParse(answer?.status === 200 ? parseBody(answer) : undefined);
    return info.success ? { isBusy: info.data.busy ?? null, timeoutSeconds: info.data.timeoutSeconds ?? null } : null;
  }

  /** Asks what became of an experiment that was sent (worker-api.md section 9). */
  async fetchStoredRun(endpoint: string, workerExperimentId: string, signal?: AbortSignal): Promise<StoredRun> {
    const stored = await this.#get(endpoint, `experiments/${workerExperimentId}`, signal);
    if (stored?.status === 200) return { kind: 'found', answer: stored };
    if (stored?.status !== 404) return { kind: 'unknown' };
    const answer = await this.#get(endpoint, 'status', signal);
    const status = Status.safeParse(answer?.status === 200 ? parseBody(answer) : undefined);
    if (!status.success) return { kind: 'unknown' };
    return { kind: status.data.current?.experiment_id === workerExperimentId ? 'running' : 'absent' };
  }

  /**
   * Asks a broker how a job is.
   * @returns its state; `gone` when the broker has it no more; null without a usable answer
   */
  async fetchJobState(job: Job, signal?: AbortSignal): Promise<JobState | 'gone' | null> {
    const answer = await this.#ask(job.statusUrl, MAX_INFO_BYTES, {}, signal);
    if (answer?.status === 404 || answer?.status === 410) return 'gone';
    return answer?.status === 200 ? parseJobState(answer.body) : null;
  }

  /**
   * Fetches the result of a job.
   * @param authorization value of the header that opens it
   * @returns `gone` when the broker has it no more, `refused` when it does not open so; null while there is none
   */
  async fetchJobResult(
    resultUrl: string,
    authorization: string,
    signal?: AbortSignal,
  ): Promise<HttpAnswer | 'gone' | 'refused' | null> {
    const answer = await this.#ask(resultUrl, MAX_JOB_RESULT_BYTES, { authorization }, signal);
    if (answer?.status === 404 || answer?.status === 410) return 'gone';
    if (answer?.status === 401 || answer?.status === 403) return 'refused';
    return answer?.status === 200 ? answer : null;
  }

  /**
   * Asks a broker for the jobs of a wallet.
   * @param authorization a sign-in of that wallet; null asks whether there is a list at all
   */
  async fetchJobList(url: string, authorization: string | null, signal?: AbortSignal): Promise<JobListAnswer> {
    const answer = await this.#ask(url, MAX_INFO_BYTES, authorization === null ? {} : { authorization }, signal);
    if (answer?.status === 200) return { kind: 'list', body: answer.body };
    if (answer?.status === 401) return { kind: 'sign_in' };
    const isFinal = answer !== null && answer.status < 500 && ![408, 425, 429].includes(answer.status);
    return { kind: isFinal ? 'absent' : 'unknown' };
  }

  /**
   * Sends an experiment and waits for its answer, whatever its status.
   * @param body exactly these bytes are sent; `encodeSubmission` makes them
   * @param paymentHeaders none for a free worker
   * @throws NetworkError; its `isSent` says whether the worker may have got the payment
   */
  async submit(
    endpoint: string,
    body: Uint8Array,
    paymentHeaders: Readonly<Record<string, string>>,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<HttpAnswer> {
    return this.#http.request({
      url: buildExperimentUrl(endpoint),
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...paymentHeaders },
      maxBytes: MAX_RESULT_BYTES,
      deadlineMs,
      ...(signal ? { signal } : {}),
    });
  }

  #get(endpoint: string, path: string, signal?: AbortSignal): Promise<HttpAnswer | null> {
    return this.#ask(buildWorkerUrl(endpoint, path), MAX_RESULT_BYTES, {}, signal);
  }

  async #ask(
    url: string,
    maxBytes: number,
    headers: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<HttpAnswer | null> {
    try {
      return await this.#http.request({
        url,
        maxBytes,
        headers,
        deadlineMs: INFO_DEADLINE_MS,
        ...(signal ? { signal } : {}),
      });
    } catch (error) {
      if (error instanceof NetworkError) return null;
      throw error;
    }
  }
}

/** The bytes of a submission: what is hashed is what is sent. */
export function encodeSubmission(trainPy: string, config: JsonObject, workerExperimentId: string): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ train_py: trainPy, config, experiment_id: workerExperimentId }));
}

function parseBody(answer: HttpAnswer): unknown {
  return parseTolerantJson(answer.body.toString('utf8'));
}
