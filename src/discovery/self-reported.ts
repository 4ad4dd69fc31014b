import * as z from 'zod';
import type { Registration } from './registration.ts';
import { readTime } from './tolerant.ts';

/** Why a score that a worker claims cannot be one. */
export const ScoreProblem = z.enum(['not_a_number', 'negative', 'zero', 'out_of_range', 'bad_date', 'future_date']);
export type ScoreProblem = z.infer<typeof ScoreProblem>;

export interface SelfReportedScore {
  /** Bits per byte as the worker claims it; null when it claims none or nothing usable. */
  readonly valBpb: number | null;
  /** When the worker says that it was measured, ISO 8601. */
  readonly updated: string | null;
  /** What is wrong with the claim; null also when there is none. */
  readonly problem: ScoreProblem | null;
}

/** Above this no byte-level model lands, trained or not. */
const MAX_VAL_BPB = 20;
const SCORE_TEXT = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;
const MAX_SCORE_CHARS = 32;
/** Clocks differ, and dates without a time are a day long. */
const FUTURE_SLACK_MS = 24 * 3_600_000;

/**
 * Reads the score that a worker reports of itself (8004scan.md section 13). It proves nothing and is ranked apart.
 * @param nowMs judges whether the claim is from the future
 */
export function parseSelfReportedScore(metadata: Registration['metadata'], nowMs: number): SelfReportedScore {
  const claimed = Object.hasOwn(metadata, 'best_val_bpb') ? metadata.best_val_bpb : metadata.val_bpb;
  const updated = readTime(metadata.updated);
  if (claimed === undefined) return { valBpb: null, updated, problem: null };
  const value = readScore(claimed);
  const problem = judgeScore(value) ?? judgeDate(metadata.updated, updated, nowMs);
  return { valBpb: problem === null ? value : null, updated, problem };
}

function judgeScore(value: number): ScoreProblem | null {
  if (Number.isNaN(value)) return 'not_a_number';
  if (value < 0) return 'negative';
  if (value === 0) return 'zero';
  return value < MAX_VAL_BPB ? null : 'out_of_range';
}

/** A claim without a date is one; a date that cannot be says that nobody looked. */
function judgeDate(claimed: string | number | undefined, updated: string | null, nowMs: number): ScoreProblem | null {
  if (claimed === undefined) return null;
  if (updated === null) return 'bad_date';
  return Date.parse(updated) > nowMs + FUTURE_SLACK_MS ? 'future_date' : null;
}

/** Only plain decimals: `Number('')` and `Number('0x1')` are finite as well. */
function readScore(claimed: string | number): number {
  if (typeof claimed === 'number') return claimed;
  const text = claimed.trim();
  return text.length <= MAX_SCORE_CHARS && SCORE_TEXT.test(text) ? Number(text) : Number.NaN;
}
