import { CoordinatorError } from '../base/errors.ts';

/** The chain's program is not installed for this platform. */
export class AnvilMissingError extends CoordinatorError {
  override readonly name = 'AnvilMissingError';
  readonly code = 'anvil_missing';
  readonly nextStep = 'Install it beside this package: npm install @foundry-rs/anvil@1.7.1 (without --omit=optional).';
  /** @param packageName npm package that was looked for */
  constructor(readonly packageName: string) {
    super(`The local network needs the chain program anvil, but ${packageName} is not installed.`);
  }
}

/** No usable Python: the local workers run train.py for real. */
export class PythonMissingError extends CoordinatorError {
  override readonly name = 'PythonMissingError';
  readonly code = 'python_missing';
  readonly nextStep = 'Install Python 3.6 or newer so that `python3` is on PATH.';
  /** @param command what was tried */
  constructor(readonly command: string) {
    super(`The local workers run train.py with Python, but ${JSON.stringify(command)} does not start Python 3.`);
  }
}

/** A part of the local network did not start, or died while the network was up. */
export class LocalnetPartError extends CoordinatorError {
  override readonly name = 'LocalnetPartError';
  readonly code = 'localnet_part_failed';
  readonly nextStep = 'Start the local network again.';
  /** @param part such as `chain`  @param problem what happened, in our words */
  constructor(
    readonly part: string,
    problem: string,
  ) {
    super(`The local network's ${part} ${problem}.`);
  }
}
