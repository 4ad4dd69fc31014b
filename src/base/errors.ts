/**
 * The one base of every error that we raise on purpose. Messages are our own words: they say what happened and with
 * which value. Text of strangers never enters a message, only `evidence`, which is shown fenced.
 */
export abstract class CoordinatorError extends Error {
  /** Stable, machine-readable name of the situation, snake_case. */
  abstract readonly code: string;
  /** One action that helps. */
  abstract readonly nextStep: string;
  /** Cleaned and capped text of a stranger; shown as quoted data only. */
  readonly evidence?: string;
}

/** An amount is not spelled as we spell amounts. */
export class InvalidAmountError extends CoordinatorError {
  override readonly name = 'InvalidAmountError';
  readonly code = 'invalid_amount';
  readonly nextStep: string;
  constructor(
    readonly value: string,
    readonly unit: 'usd' | 'atomic',
  ) {
    super(
      `${JSON.stringify(value.slice(0, 40))} is not an amount ${unit === 'usd' ? 'in dollars' : 'in atomic USDC'}. Nothing was signed or paid.`,
    );
    this.nextStep =
      unit === 'usd'
        ? 'Write dollars as a decimal with at most six digits after the point, such as 0.25.'
        : 'Write whole atomic units (1e-6 USDC) in decimal digits, such as 250000.';
  }
}

/** An environment variable or a command's argument has a value that cannot be used. */
export class ConfigurationError extends CoordinatorError {
  override readonly name = 'ConfigurationError';
  readonly code = 'bad_configuration';
  /** @param variable name of the variable  @param problem what is wrong with its value  @param nextStep what to set */
  constructor(
    readonly variable: string,
    readonly problem: string,
    readonly nextStep: string,
  ) {
    super(`${variable} ${problem}.`);
  }
}

/** The caller's input cannot be used; says which argument and why. */
export class InputError extends CoordinatorError {
  override readonly name = 'InputError';
  constructor(
    readonly code: string,
    message: string,
    readonly nextStep: string,
  ) {
    super(message);
  }
}

/** Something that the caller named does not exist here. */
export class NotFoundError extends CoordinatorError {
  override readonly name = 'NotFoundError';
  readonly code: string;
  /** @param kind what was looked for, such as `experiment`  @param id as the caller wrote it */
  constructor(
    readonly kind: string,
    readonly id: string,
    readonly nextStep: string,
  ) {
    super(`There is no ${kind} ${JSON.stringify(id.slice(0, 200))}.`);
    this.code = `unknown_${kind}`;
  }
}
