import type { Worker } from '../discovery/worker.ts';

/** A worker that claims a score. */
export interface Claim {
  readonly worker: Worker;
  readonly valBpb: number;
}

/** The board of what workers say of themselves: it proves nothing and never meets our own results. */
export interface ClaimBoard {
  /** Lowest score first; of equal ones the older, those without a date last (8004scan.md section 13). */
  readonly claims: readonly Claim[];
  /** Workers whose claim cannot be true, also those that discovery hides. */
  readonly rejected: readonly Worker[];
}

/**
 * Ranks the claims of workers, one row per worker: discovery has merged their registrations. Those that cannot be used
 * would only bury the others, unless they are merely off for now.
 */
export function rankClaims(workers: readonly Worker[]): ClaimBoard {
  const claims = workers.flatMap((worker) =>
    worker.selfReportedValBpb !== null && isUsable(worker) ? [{ worker, valBpb: worker.selfReportedValBpb }] : [],
  );
  const rejected = workers.filter((worker) => worker.selfReportedProblem !== null && worker.matchedSkill !== null);
  return {
    claims: claims.sort(compareClaims),
    rejected: rejected.sort((a, b) => compareTexts(a.workerId, b.workerId)),
  };
}

function isUsable({ hiddenReason }: Worker): boolean {
  return hiddenReason === undefined || hiddenReason === 'unreachable';
}

function compareClaims(a: Claim, b: Claim): number {
  return (
    a.valBpb - b.valBpb ||
    // ISO 8601 sorts as text; what has no date comes after every date.
    compareTexts(a.worker.selfReportedUpdated ?? '~', b.worker.selfReportedUpdated ?? '~') ||
    compareTexts(a.worker.workerId, b.worker.workerId)
  );
}

function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
