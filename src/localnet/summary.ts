/** What a train.py reported about itself at the end of its output. */
export interface TrainingSummary {
  /** Bits per byte, finite; null when nothing usable was printed. */
  readonly valBpb: number | null;
  /** Every line of the summary block, numbers as numbers; null when there is none. */
  readonly metrics: Readonly<Record<string, number | string>> | null;
}

const MAX_LINES = 32;
const LINE = /^([A-Za-z][A-Za-z0-9_]{0,39}):\s+(\S{1,100})$/;
const DECIMAL = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;

/**
 * Reads the summary block that Karpathy's train.py prints (worker-api.md section 11): the lines after the last `---`.
 * Progress lines may name val_bpb too, so only the block counts, and its last such line.
 */
export function parseSummary(output: string): TrainingSummary {
  const lines = output.split(/\r?\n|\r/);
  const start = lines.lastIndexOf('---');
  const block = start === -1 ? lines : lines.slice(start + 1);
  const entries = block.map((line) => LINE.exec(line)).filter((match) => match !== null);
  const values = new Map(entries.slice(-MAX_LINES).map(([, name = '', value = '']) => [name, parseValue(value)]));
  const valBpb = values.get('val_bpb');
  return {
    valBpb: typeof valBpb === 'number' ? valBpb : null,
    metrics: start === -1 || values.size === 0 ? null : Object.fromEntries(values),
  };
}

function parseValue(text: string): number | string {
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : text;
}
