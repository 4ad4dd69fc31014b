import { CoordinatorError } from '../base/errors.ts';

/** Where a command writes: one object on one line for programs, lines for people. */
export interface Output {
  readonly isJson: boolean;
  /** A line for people; silent with --json. */
  say(line: string): void;
  /** The object for programs; silent without --json. */
  emit(value: unknown): void;
  /** Something on the side, such as progress: always stderr. */
  note(line: string): void;
}

/** Output of a command on this process's streams. */
export function createOutput(isJson: boolean): Output {
  return {
    isJson,
    say: (line) => void (isJson || process.stdout.write(`${line}\n`)),
    emit: (value) => void (isJson && process.stdout.write(`${JSON.stringify(value)}\n`)),
    note: (line) => void process.stderr.write(`${line}\n`),
  };
}

/**
 * Runs a command and turns what it throws on purpose into words.
 * @returns its exit code; 1 when it failed, 2 when the configuration or the arguments are wrong
 */
export async function guardCommand(output: Output, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof CoordinatorError)) throw error;
    output.emit({ ok: false, code: error.code, error: error.message, next_step: error.nextStep });
    output.note(`${error.message} ${error.nextStep}`);
    return error.code === 'bad_configuration' || error.code === 'bad_arguments' ? 2 : 1;
  }
}

/** Pads columns of a small table; the first row is its head. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  return rows
    .map((row) =>
      row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0))).join('  '),
    )
    .join('\n');
}
