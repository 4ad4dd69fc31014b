/** Life of an experiment (design.md section 5). */
export const EXPERIMENT_STATES = [
  'drafted',
  'claimed',
  'quoted',
  'reserved',
  'signed',
  'sent',
  'accepted',
  'returned',
  'judged',
  'published',
  'refused',
  'failed',
  'unpaid',
  'lost',
  'cancelled',
] as const;
export type ExperimentState = (typeof EXPERIMENT_STATES)[number];

/** Where an experiment's money is, as far as is proven. */
export const SETTLEMENTS = ['none', 'pending', 'settled', 'unpaid', 'unknown'] as const;
export type Settlement = (typeof SETTLEMENTS)[number];

/**
 * Every transition that exists. Going back to `claimed` starts another attempt: before signing, after proof that the
 * last one is unpaid, or as an overlap that the policy allows.
 */
const NEXT: Readonly<Record<ExperimentState, readonly ExperimentState[]>> = {
  drafted: ['claimed', 'cancelled', 'refused'],
  claimed: ['quoted', 'refused', 'cancelled', 'unpaid', 'accepted', 'returned', 'lost'],
  quoted: ['reserved', 'claimed', 'refused', 'cancelled'],
  reserved: ['signed', 'claimed', 'refused', 'cancelled'],
  signed: ['sent', 'claimed', 'refused'],
  sent: ['accepted', 'returned', 'claimed', 'unpaid', 'lost'],
  accepted: ['returned', 'judged', 'lost'],
  returned: ['judged'],
  judged: ['published', 'failed'],
  published: [],
  refused: [],
  failed: [],
  unpaid: [],
  lost: [],
  cancelled: [],
};

/** Whether an experiment may pass from one state to another. */
export function canTransition(from: ExperimentState, to: ExperimentState): boolean {
  return NEXT[from].includes(to);
}

/** Whether nothing happens any more. */
export function isFinal(state: ExperimentState): boolean {
  return NEXT[state].length === 0;
}

/** Whether the experiment may still be cancelled: nothing is signed yet. */
export function isCancellable(state: ExperimentState): boolean {
  return NEXT[state].includes('cancelled');
}
