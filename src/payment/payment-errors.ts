import { CoordinatorError } from '../base/errors.ts';

/** A paid call needs a key and there is none. */
export class NoWalletError extends CoordinatorError {
  override readonly name = 'NoWalletError';
  readonly code = 'no_wallet';
  readonly nextStep =
    'Set AUTORESEARCH_PRIVATE_KEY_FILE to a file (mode 600) with the key of a wallet that holds only the experiment budget, then restart. Reading tools work without it.';
  constructor() {
    super('No wallet is configured, so nothing can be paid. Nothing was signed or paid.');
  }
}

/** The payer cannot cover the price, or the payment cannot be prepared safely. */
export class UnpayableError extends CoordinatorError {
  override readonly name = 'UnpayableError';
  constructor(
    readonly code:
      | 'insufficient_balance'
      | 'clock_skew'
      | 'timeout_too_short'
      | 'upfront_refused'
      | 'contract_wallet'
      | 'chain_unreadable',
    message: string,
    readonly nextStep: string,
  ) {
    super(`${message} Nothing was signed or paid.`);
  }
}
