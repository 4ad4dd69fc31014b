import * as z from 'zod';
import { buildExperimentUrl } from '../base/endpoint.ts';
import { parseTolerantJson } from './tolerant-json.ts';

/** A paid job that a broker runs for the worker (worker-api.md section 6). */
export interface Job {
  readonly statusUrl: string;
  readonly resultUrl: string;
  /** Opens the result; a secret. Null for a job that was found in a list: its result opens with a wallet sign-in. */
  readonly token: string | null;
  /** Unix milliseconds until which the broker keeps the result. */
  readonly expiresAtMs: number;
}

export const JobState = z.enum(['pending', 'running', 'complete', 'failed']);
export type JobState = z.infer<typeof JobState>;

const Accepted = z.looseObject({
  statusUrl: z.string().max(2_048),
  resultUrl: z.string().max(2_048),
  // Anything else could not be sent in a header, and the result would never be opened.
  jobToken: z.string().regex(/^[\x21-\x7e]{1,1024}$/),
  expiresAt: z.string().optional().catch(undefined),
});
const Status = z.looseObject({ state: JobState });

/** Brokers keep results for 72 hours by default, in milliseconds. */
export const RETENTION_MS = 72 * 3_600_000;

/**
 * Reads the answer 202 to a submission.
 * @returns null when it names no job on the worker's own origin: other hosts are never followed
 */
export function parseJob(endpoint: string, body: Uint8Array, nowMs: number): Job | null {
  const parsed = Accepted.safeParse(parseTolerantJson(new TextDecoder().decode(body)));
  if (!parsed.success) return null;
  const base = new URL(buildExperimentUrl(endpoint));
  const statusUrl = resolveOwn(parsed.data.statusUrl, base);
  const resultUrl = resolveOwn(parsed.data.resultUrl, base);
  if (statusUrl === null || resultUrl === null) return null;
  const announced = Date.parse(parsed.data.expiresAt ?? '');
  const latestMs = nowMs + RETENTION_MS;
  const expiresAtMs = Number.isNaN(announced) ? latestMs : Math.min(announced, latestMs);
  return { statusUrl, resultUrl, token: parsed.data.jobToken, expiresAtMs };
}

/** An address of the same origin as the submission, or null. */
function resolveOwn(reference: string, base: URL): string | null {
  if (!URL.canParse(reference, base.href)) return null;
  const url = new URL(reference, base);
  const isOwn = url.origin === base.origin && url.username === '' && url.password === '';
  return isOwn ? url.href : null;
}

/** State of a job as its broker tells it; null when the answer tells none. */
export function parseJobState(body: Uint8Array): JobState | null {
  const parsed = Status.safeParse(parseTolerantJson(new TextDecoder().decode(body)));
  return parsed.success ? parsed.data.state : null;
}
