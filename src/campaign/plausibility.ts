import type { Task } from '../experiment/task-schema.ts';
import type { RunResult } from '../worker/result.ts';
import type { ScoredRun } from './evidence.ts';
import { findKnobs } from './knobs.ts';

/** What a run's numbers are held against. */
export interface PlausibilityFacts {
  readonly task: Task;
  readonly run: RunResult;
  /** Between our sending and the answer, seconds; null when the answer came another way. */
  readonly wallSeconds: number | null;
  /** Predicted tokens of one optimizer step; null when the script does not say. */
  readonly tokensPerStep: number | null;
  readonly trainHash: string;
  readonly variantHash: string;
  /** Scored runs of the lineage. */
  readonly runs: readonly ScoredRun[];
}

/** A worker rounds the numbers of its summary. */
const ROUNDING = 0.02;
/** Where the budget is time, a run of less than this share of it was none. */
const SHORTEST_SHARE = 0.5;
/** Fewer decimals agree by chance. */
const TELLING_DECIMALS = 5;

/**
 * Finds what cannot be true in a worker's account of a run (field.md section 5). Free of charge, and only a first
 * sieve: a careful liar passes it and is left to the audits.
 * @returns our words about the first contradiction; null when there is none
 */
export function findImplausible(facts: PlausibilityFacts): string | null {
  const { run, task, wallSeconds } = facts;
  const metrics = (name: string) => {
    const value = run.metrics?.[name];
    return typeof value === 'number' ? value : null;
  };
  const printed = metrics('val_bpb');
  if (printed !== null && run.valBpb !== null && Math.abs(printed - run.valBpb) > 1e-6)
    return `the score ${run.valBpb} is not the ${printed} of its own summary`;
  if (run.flags.includes('duration_implausible')) return 'the run is said to have taken longer than we waited for it';
  if (run.flags.includes('times_reversed')) return 'the run is said to have ended before it started';
  if (wallSeconds !== null && isShorterThanBudget(task, wallSeconds))
    return `the answer came after ${wallSeconds.toFixed(0)} s, but the budget of a run is ${task.expectedSeconds} s`;
  const training = metrics('training_seconds');
  if (training !== null && wallSeconds !== null && training > wallSeconds + 5)
    return `it is said to have trained for ${training} s within ${wallSeconds.toFixed(0)} s`;
  const mfu = metrics('mfu_percent');
  // Where the budget is counted in operations the script assumes a machine, and may be wrong about it.
  const isMeasured = task.budgetRule.kind === 'seconds' || task.budgetRule.kind === 'unknown';
  if (mfu !== null && (mfu < 0 || (mfu > 100 && isMeasured))) return `mfu_percent ${mfu} is no share of a machine`;
  return findTokenMismatch(facts, metrics('total_tokens_M'), metrics('num_steps')) ?? findCopy(facts);
}

function isShorterThanBudget({ budgetRule, expectedSeconds }: Task, wallSeconds: number): boolean {
  return budgetRule.kind === 'seconds' && expectedSeconds !== null && wallSeconds < expectedSeconds * SHORTEST_SHARE;
}

function findTokenMismatch(
  { tokensPerStep }: PlausibilityFacts,
  millions: number | null,
  steps: number | null,
): string | null {
  if (millions === null || steps === null || tokensPerStep === null) return null;
  const expected = (steps * tokensPerStep) / 1e6;
  if (Math.abs(millions - expected) <= Math.max(ROUNDING * expected, 0.06)) return null;
  return `${millions} million tokens are not ${steps} steps of ${tokensPerStep}`;
}

/**
 * The very digits of another program's result. Where training is timed, no two runs end alike; a script that computes
 * the same whatever the machine may well give the same twice.
 */
function findCopy({ task, run, runs, variantHash }: PlausibilityFacts): string | null {
  const score = run.valBpb;
  if (score === null || task.budgetRule.kind !== 'seconds' || countDecimals(score) < TELLING_DECIMALS) return null;
  const original = runs.find((other) => other.valBpb === score && other.variantHash !== variantHash);
  return original ? `the score has the very digits of ${original.experimentId}, another program` : null;
}

function countDecimals(value: number): number {
  return (String(value).split('.')[1] ?? '').length;
}

/** Tokens of one step as the script states them: a number, or a power or product of numbers. */
export function readTokensPerStep(source: string, config: Readonly<Record<string, unknown>>): number | null {
  const override = config.TOTAL_BATCH_SIZE;
  if (typeof override === 'number') return override;
  const text = findKnobs(source).find(({ name }) => name === 'TOTAL_BATCH_SIZE')?.value ?? '';
  const power = /^(\d{1,4})\s*\*\*\s*(\d{1,2})$/.exec(text);
  if (power) return Number(power[1]) ** Number(power[2]);
  const factors = text.split('*').map((factor) => factor.trim().replaceAll('_', ''));
  if (!factors.every((factor) => /^\d{1,12}$/.test(factor))) return null;
  return factors.reduce((product, factor) => product * Number(factor), 1);
}
