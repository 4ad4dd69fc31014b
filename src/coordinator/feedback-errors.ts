import { CoordinatorError } from '../base/errors.ts';

/** Why no feedback can be given about an experiment. */
export type FeedbackProblem =
  | 'not_finished'
  | 'not_settled'
  | 'no_identity'
  | 'identity_unproven'
  | 'outcome_undecided'
  | 'wrong_payer'
  | 'own_agent'
  | 'unknown_agent'
  | 'refused_by_registry'
  | 'taken_over'
  | 'no_rpc'
  | 'no_gas_money'
  | 'fees_too_high';

/** A feedback is not given; nothing was signed or sent for it. */
export class FeedbackError extends CoordinatorError {
  override readonly name = 'FeedbackError';
  constructor(
    readonly code: FeedbackProblem,
    message: string,
    readonly nextStep: string,
  ) {
    super(`${message} Nothing was signed or sent.`);
  }
}
