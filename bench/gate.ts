/**
 * Wall time of the gate on variants that it has not seen, with Python's parser and with our own:
 * `npm run bench:gate -- [variants]`. Exit code 1 when a median is over its target.
 */
import { readFileSync } from 'node:fs';
import { checkVariant } from '../src/experiment/gate/gate.ts';
import { ScriptReader } from '../src/experiment/gate/script-reader.ts';
import { readKnobs } from '../src/experiment/script/normal-form.ts';
import { findTask } from '../src/experiment/task.ts';

const VARIANTS = Number(process.argv[2] ?? 40);
const MAX_MEDIAN_MS = 100;

const SCRIPTS = [
  ['train_gpt.py', '../test/fixtures/scripts/train_gpt.py', 'MATRIX_LR = '],
  ['train_numpy.py', '../src/localnet/examples/train_numpy.py', 'MATRIX_LR = '],
  ['train_stdlib.py', '../src/localnet/examples/train_stdlib.py', 'DISCOUNT = '],
] as const;

let isMissed = false;
for (const [name, path, knob] of SCRIPTS) {
  const source = readFileSync(new URL(path, import.meta.url), 'utf8');
  const root = { source, config: {} };
  const task = findTask(source);
  for (const [reader, command] of [
    ["Python's parser", 'python3'],
    ['our own', null],
  ] as const) {
    const scripts = new ScriptReader(command);
    const times: number[] = [];
    for (let index = 0; index <= VARIANTS; index += 1) {
      const line = source.split('\n').find((text) => text.startsWith(knob)) ?? '';
      const variant = { source: source.replace(line, `${knob}0.0${index + 1}1`), config: {} };
      const startedMs = performance.now();
      const { verdict } = await checkVariant(scripts, task, variant, root);
      times.push(performance.now() - startedMs);
      if (verdict !== 'ok') throw new Error(`${name}: ${verdict}`);
    }
    const [first = Number.NaN, ...later] = times;
    const sorted = later.toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
    if (!(median <= MAX_MEDIAN_MS)) isMissed = true;
    process.stdout.write(
      `${name} (${source.length} bytes, ${readKnobs(source).size} knobs), ${reader}: first ${first.toFixed(0)} ms, then median ${median.toFixed(1)} ms, worst ${(sorted.at(-1) ?? Number.NaN).toFixed(1)} ms${median <= MAX_MEDIAN_MS ? '' : ` (target ${MAX_MEDIAN_MS} ms, MISSED)`}\n`,
    );
  }
}
process.exitCode = isMissed ? 1 : 0;
