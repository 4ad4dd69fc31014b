import * as z from 'zod';
import { canonicalJson, isSha256, type Sha256 } from '../base/hash.ts';
import { isShallow, JsonObject } from '../base/json.ts';
import { cleanUntrusted, UNTRUSTED_CAPS } from '../base/untrusted.ts';
import { parseTolerantJson } from './tolerant-json.ts';

/** What was sent, to compare an answer with. */
export interface ExpectedRun {
  readonly workerExperimentId: string;
  readonly trainHash: Sha256;
  readonly config: JsonObject;
  /** Wall time that we saw between sending and the answer, seconds; absent when the answer came another way. */
  readonly wallSeconds?: number;
}

export type RunStatus = 'completed' | 'failed' | 'timeout' | 'unknown';

/** Why a worker's answer counts for less than it says. */
export type ResultFlag =
  | 'hash_missing'
  | 'config_differs'
  | 'duration_implausible'
  | 'times_reversed'
  | 'score_without_success';

/** A worker's word about a run, parsed strictly. Everything in it is a claim. */
export interface RunResult {
  readonly status: RunStatus;
  readonly returnCode: number | null;
  /** Finite, and only of a run that completed with exit code 0 and our hash; null otherwise. */
  readonly valBpb: number | null;
  readonly durationSeconds: number | null;
  /** Numbers and short texts of the training's summary, if the worker sends them. */
  readonly metrics: Readonly<Record<string, number | string>> | null;
  readonly untrustedNote: string | null;
  readonly flags: readonly ResultFlag[];
}

export type ResultProblem = 'not_json' | 'not_an_object' | 'foreign_experiment' | 'foreign_hash';

const MAX_METRICS = 40;
/** Clocks and the network may add this to what a worker measures, in seconds. */
const DURATION_SLACK_SECONDS = 5;
const DECIMAL = /^-?\d{1,12}(\.\d{1,18})?$/;

const Answer = z.looseObject({
  experiment_id: z.unknown().optional(),
  status: z.enum(['completed', 'failed', 'timeout', 'unknown']).catch('unknown'),
  return_code: z.unknown().optional(),
  val_bpb: z.unknown().optional(),
  train_hash: z.string().optional().catch(undefined),
  durationSeconds: z.number().nonnegative().nullable().catch(null).default(null),
  startedAt: z.string().optional().catch(undefined),
  finishedAt: z.string().optional().catch(undefined),
  config: z.unknown().optional(),
  metrics: z.unknown().optional(),
  note: z.unknown().optional(),
});
type Answer = z.infer<typeof Answer>;

/**
 * Parses the answer to a submission.
 * @param body as received; keep it before calling, since it was paid for
 * @returns the claim, or why it is not about our run
 */
export function parseRunResult(body: Uint8Array, expected: ExpectedRun): RunResult | ResultProblem {
  const document = parseTolerantJson(new TextDecoder().decode(body));
  if (document === undefined) return 'not_json';
  const parsed = Answer.safeParse(document);
  if (!parsed.success || Array.isArray(document) || !isShallow(document)) return 'not_an_object';
  const answer = parsed.data;
  if ((answer.experiment_id ?? expected.workerExperimentId) !== expected.workerExperimentId)
    return 'foreign_experiment';
  if (answer.train_hash !== undefined && (!isSha256(answer.train_hash) || answer.train_hash !== expected.trainHash))
    return 'foreign_hash';
  const score = parseScore(answer.val_bpb);
  // A worker may leave the exit code out; one that is there has to be 0, not just something else than another number.
  const isSuccess = answer.status === 'completed' && (answer.return_code === undefined || answer.return_code === 0);
  const hasHash = answer.train_hash !== undefined;
  return {
    status: answer.status,
    returnCode: z.int().safeParse(answer.return_code).data ?? null,
    valBpb: isSuccess && hasHash ? score : null,
    durationSeconds: answer.durationSeconds,
    metrics: parseMetrics(answer.metrics),
    untrustedNote: cleanUntrusted(answer.note, UNTRUSTED_CAPS.message),
    flags: listFlags(answer, expected, score !== null && !isSuccess),
  };
}

/** A finite number, or its plain decimal spelling: booleans, hex, exponents in text and lists are no score. */
function parseScore(value: unknown): number | null {
  if (typeof value === 'string' && DECIMAL.test(value.trim())) return Number(value);
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

function listFlags(answer: Answer, expected: ExpectedRun, isScoreWithoutSuccess: boolean): ResultFlag[] {
  const flags: ResultFlag[] = [];
  if (answer.train_hash === undefined) flags.push('hash_missing');
  if (answer.config !== undefined && answer.config !== null && !isSameConfig(answer.config, expected.config))
    flags.push('config_differs');
  const { wallSeconds } = expected;
  if (wallSeconds !== undefined && (answer.durationSeconds ?? 0) > wallSeconds + DURATION_SLACK_SECONDS)
    flags.push('duration_implausible');
  const started = Date.parse(answer.startedAt ?? '');
  const finished = Date.parse(answer.finishedAt ?? '');
  if (finished < started) flags.push('times_reversed');
  if (isScoreWithoutSuccess) flags.push('score_without_success');
  return flags;
}

function isSameConfig(echo: unknown, sent: JsonObject): boolean {
  const parsed = JsonObject.safeParse(echo);
  return parsed.success && canonicalJson(parsed.data) === canonicalJson(sent);
}

function parseMetrics(value: unknown): Record<string, number | string> | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const metrics: Record<string, number | string> = {};
  for (const [key, entry] of Object.entries(value).slice(0, MAX_METRICS)) {
    if (!/^[A-Za-z][A-Za-z0-9_]{0,40}$/.test(key) || key === 'constructor') continue;
    if (typeof entry === 'number' && Number.isFinite(entry)) metrics[key] = entry;
    const text = cleanUntrusted(entry, 80);
    if (text !== null) metrics[key] = text;
  }
  return Object.keys(metrics).length > 0 ? metrics : null;
}
