import * as z from 'zod';
import { JsonObject } from '../src/base/json.ts';

/** Arguments and answers that several tools share. */

export const waitSeconds = z.int().min(0).max(40).default(30).describe('Seconds to wait for progress.');

export const config = z
  .record(z.string(), z.unknown())
  .transform((value) => JsonObject.parse(value))
  .describe("For scripts that read AUTORESEARCH_EXPERIMENT_CONFIG, else use edits; put over the base's.");

export const edits = z
  .array(
    z.strictObject({
      search: z.string().min(1).optional(),
      replace: z.string().optional(),
      diff: z.string().optional(),
    }),
  )
  .max(50)
  .describe('In order: search (occurs exactly once) and replace, or a unified diff.');

export const repeat = z.boolean().optional();
export const acceptWarnings = z.boolean().optional();

export const responseFormat = z.enum(['concise', 'detailed']).default('concise').describe('detailed: every field.');

const MAX_SOURCE_CHARS = 524_288;
export const trainPy = z.string().max(MAX_SOURCE_CHARS).describe('Whole source.');
export const trainPath = z.string().max(1_024).describe('Path below the working directory.');

/** Earlier experiments that are much like a new one, with what they gave. */
export const similar = z.array(z.string()).optional();

/** One experiment; what is not known yet is absent. */
export const experiment = z.object({
  experiment_id: z.string(),
  state: z.string(),
  settlement: z.string(),
  summary: z.string(),
  description: z.string(),
  train_hash: z.string(),
  attempt: z.number(),
  elapsed_s: z.number(),
  created_at: z.string(),
  next_step: z.string(),
  worker_endpoint: z.string().optional(),
  worker_id: z.string().optional(),
  worker_choice: z.string().optional(),
  price_atomic: z.string().optional(),
  price_usdc: z.string().optional(),
  payment_tx: z.string().optional(),
  val_bpb: z.number().optional(),
  verdict: z.string().optional(),
  verdict_because: z.string().optional(),
  reason: z.string().optional(),
  reason_code: z.string().optional(),
  duration_s: z.number().optional(),
  metrics: z.record(z.string(), z.number()).optional(),
  data_sha256: z.string().optional(),
  untrusted_note: z.string().optional(),
  loop_id: z.string().optional(),
  round: z.number().optional(),
  hypothesis: z.string().optional(),
  agent: z.string().optional(),
  warnings: z.array(z.string()).optional(),
  similar,
});
