import type { Registration } from './registration.ts';
import { readTime } from './tolerant.ts';

export interface SelfReportedScore {
  /** Bits per byte as the worker claims it; null when it claims none or nothing usable. */
  readonly valBpb: number | null;
  /** When the worker says that it was measured, ISO 8601. */
  readonly updated: string | null;
  /** A score was claimed that cannot be one; it is counted, never shown. */
  readonly isRejected: boolean;
}

/** Above this no byte-level model lands, trained or not. */
const MAX_VAL_BPB = 20;
const SCORE_TEXT = /^\d+(\.\d+)?([eE][+-]?\d+)?$/;
const MAX_SCORE_CHARS = 32;

/**
 * Reads the score that a worker reports of itself (8004scan.md section 13). It proves nothing and is ranked apart.
 */
export function parseSelfReportedScore(metadata: Registration['metadata']): SelfReportedScore {
  const claimed = Object.hasOwn(metadata, 'best_val_bpb') ? metadata.best_val_bpb : metadata.val_bpb;
  const updated = readTime(metadata.updated);
  if (claimed === undefined) return { valBpb: null, updated, isRejected: false };
  const value = readScore(claimed);
  const isPlausible = Number.isFinite(value) && value > 0 && value < MAX_VAL_BPB;
  return { valBpb: isPlausible ? value : null, updated, isRejected: !isPlausible };
}

/** Only plain decimals: `Number('')` and `Number('0x1')` are finite as well. */
function readScore(claimed: string | number): number {
  if (typeof claimed === 'number') return claimed;
  const text = claimed.trim();
  return text.length <= MAX_SCORE_CHARS && SCORE_TEXT.test(text) ? Number(text) : Number.NaN;
}
