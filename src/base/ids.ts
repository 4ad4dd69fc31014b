import { randomBytes } from 'node:crypto';
import * as z from 'zod';

/** Identifies one experiment: `exp-YYYYMMDD-` and 16 hex digits. It identifies and authorizes nothing. */
export const ExperimentId = z
  .string()
  .regex(/^exp-\d{8}-[0-9a-f]{16}$/)
  .brand('ExperimentId');
export type ExperimentId = z.infer<typeof ExperimentId>;

export const LoopId = z
  .string()
  .regex(/^loop-\d{8}-[0-9a-f]{16}$/)
  .brand('LoopId');
export type LoopId = z.infer<typeof LoopId>;

export const QuoteId = z
  .string()
  .regex(/^quote-[0-9a-f]{24}$/)
  .brand('QuoteId');
export type QuoteId = z.infer<typeof QuoteId>;

function dated(prefix: string, now: Date): string {
  return `${prefix}-${now.toISOString().slice(0, 10).replaceAll('-', '')}-${randomBytes(8).toString('hex')}`;
}

/** A new random experiment id that carries the day it was made (UTC). */
export function createExperimentId(now: Date): ExperimentId {
  return ExperimentId.parse(dated('exp', now));
}

/** A new random loop id that carries the day it was made (UTC). */
export function createLoopId(now: Date): LoopId {
  return LoopId.parse(dated('loop', now));
}

/** A new random quote id: consent is bound to it, so it is neither guessable nor derived from a price. */
export function createQuoteId(): QuoteId {
  return QuoteId.parse(`quote-${randomBytes(12).toString('hex')}`);
}

/** The id under which a worker knows one attempt of an experiment; each attempt has its own, since workers burn ids. */
export function workerExperimentId(experimentId: ExperimentId, attempt: number): string {
  return `${experimentId}-a${attempt}`;
}
