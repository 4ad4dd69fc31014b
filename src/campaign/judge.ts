import type { Judgement } from '../experiment/experiment.ts';
import type { RunResult } from '../worker/result.ts';

/** A finished run that others are compared with. */
export interface Reference {
  readonly experimentId: string;
  readonly valBpb: number;
  /** Runs of this variant, including this one. */
  readonly runs: number;
  readonly sourceLines: number;
}

/** Scores outside this range are no bits per byte of a language model (field.md section 5). */
const PLAUSIBLE = { min: 0.5, max: 10 } as const;
/** A larger gain in one step is possible, yet more often an error or a lie. */
const SUSPECT_GAIN = 0.1;
/** Noise of one run before repeats were seen, in bits per byte, and how many repeats that is worth (field.md section 4). */
const PRIOR_SIGMA = 5e-4;
const PRIOR_WEIGHT = 4;

/**
 * Noise of one run, pooled over repeats of the same variant; never from the spread of different variants.
 * @param groups scores of each variant that ran more than once
 */
export function estimateSigma(groups: readonly (readonly number[])[]): number {
  let squares = PRIOR_WEIGHT * PRIOR_SIGMA ** 2;
  let degrees = PRIOR_WEIGHT;
  for (const group of groups) {
    const mean = group.reduce((sum, score) => sum + score, 0) / group.length;
    for (const score of group) squares += (score - mean) ** 2;
    degrees += group.length - 1;
  }
  return Math.sqrt(squares / degrees);
}

/**
 * Judges one run against the champion of its lineage (field.md section 4, rules 2 and 3). Crashes and invalid results
 * are verdicts of their own, never scores. A KEEP is provisional until another worker confirms it.
 * @param champion null for the first run of a lineage
 */
export function judgeRun(
  run: RunResult,
  sourceLines: number,
  runs: number,
  champion: Reference | null,
  sigma: number,
): Judgement {
  const plain = (verdict: Judgement['verdict'], because: string): Judgement => ({
    verdict,
    because,
    championId: champion?.experimentId ?? null,
    delta: null,
    sigma: null,
    z: null,
  });
  if (run.status === 'failed') return plain('FAILED', 'the script ended with an error');
  if (run.status === 'timeout') return plain('FAILED', 'the script was stopped at the time limit');
  if (run.valBpb === null) return plain('INVALID', 'the answer holds no val_bpb that counts');
  if (run.valBpb < PLAUSIBLE.min || run.valBpb > PLAUSIBLE.max) {
    return plain(
      'INVALID',
      `val_bpb ${run.valBpb} is outside the plausible range ${PLAUSIBLE.min} to ${PLAUSIBLE.max}`,
    );
  }
  if (!champion) return plain('BASELINE', 'first run of this script: what follows is compared with it');
  const delta = champion.valBpb - run.valBpb;
  const z = delta / (sigma * Math.sqrt(1 / champion.runs + 1 / runs));
  const numbers = { championId: champion.experimentId, delta, sigma, z };
  const compared = `Δ ${formatDelta(delta)}, z ${z.toFixed(1)} against noise σ ${sigma.toFixed(4)}`;
  if (delta > SUSPECT_GAIN) return { verdict: 'SUSPECT', because: `${compared}: too good for one step`, ...numbers };
  if (z >= 3) return { verdict: 'KEEP', because: `${compared}; provisional until confirmed elsewhere`, ...numbers };
  if (z >= 1) return { verdict: 'RETEST', because: `${compared}: too close to call`, ...numbers };
  if (z >= -1 && sourceLines < champion.sourceLines)
    return { verdict: 'KEEP-SIMPLER', because: `${compared}, with fewer lines`, ...numbers };
  return { verdict: 'DISCARD', because: `${compared}: not better`, ...numbers };
}

function formatDelta(delta: number): string {
  return `${delta < 0 ? '−' : '+'}${Math.abs(delta).toFixed(4)}`;
}
