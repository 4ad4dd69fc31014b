import fc from 'fast-check';
import { expect, it } from 'vitest';
import { findKnobs, isRuleOfTheGame } from '../knobs.ts';
import { formatLiteral, type Literal, parseLiteral } from './literals.ts';
import { moveLiteral, scaleOf } from './scale.ts';
import { applySettings, differingKeys, readPoint } from './space.ts';

const SCRIPT = `"""
DEPTH = 99 is no knob in here
"""
DEPTH = 8               # layers
WINDOW: str = "SSSL"    # pattern
TOTAL_BATCH_SIZE = 2**19
ADAM_BETAS = (0.8, 0.95)
USE_BIAS = False
WIDTH = 40 * ASPECT
if DEPTH == 9:
    DEPTH = 10
`;
const program = { source: SCRIPT, config: {} };

function moved(name: string, spelled: string, direction: 1 | -1, size = 1): string | null {
  const literal = parseLiteral(spelled);
  const scale = literal && scaleOf(name, literal);
  const to = literal && scale && moveLiteral(literal, scale, direction, size);
  return to ? formatLiteral(to) : null;
}

it.each([
  ['DEPTH', '8', '9', '7'],
  ['MIN_COUNT', '1', '2', null],
  ['HEAD_DIM', '128', '256', '64'],
  ['CACHE_BYTES', '2_000', '4000', '1000'],
  ['TOTAL_BATCH_SIZE', '2**19', '2**20', '2**18'],
  ['EMBEDDING_LR', '0.6', '1.2', '0.3'],
  ['WEIGHT_DECAY', '0.2', '0.4', '0.1'],
  ['WARMDOWN_RATIO', '0.5', '0.6', '0.4'],
  ['CACHE_WEIGHT', '0.0', '0.1', null],
  ['BETA2', '0.95', '0.975', '0.9'],
  ['UNIFORM_MIX', '0.02', '0.04', '0.01'],
  ['WARMUP_STEPS', '0', '1', null],
  ['SOFTCAP', '15.0', '30.0', '7.5'],
])('moves %s = %s in the scale that it has', (name, spelled, up, down) => {
  expect([moved(name, spelled, 1), moved(name, spelled, -1)]).toEqual([up, down]);
});

it('reads the constants at the start of a line alone, not those in texts, branches or formulas', () => {
  expect(findKnobs(SCRIPT).map(({ name, value, comment }) => [name, value, comment])).toEqual([
    ['DEPTH', '8', 'layers'],
    ['WINDOW', '"SSSL"', 'pattern'],
    ['TOTAL_BATCH_SIZE', '2**19', ''],
    ['ADAM_BETAS', '(0.8, 0.95)', ''],
    ['USE_BIAS', 'False', ''],
  ]);
});

it('changes nothing of a script but the values it is told to', () => {
  const settings = [
    { key: 'ADAM_BETAS[1]', value: parseLiteral('0.975') },
    { key: 'DEPTH', value: parseLiteral('9') },
  ].flatMap(({ key, value }) => (value ? [{ key, value }] : []));
  const changed = applySettings(program, settings);
  const lines = SCRIPT.split('\n');
  expect(changed.source.split('\n').flatMap((line, index) => (line === lines[index] ? [] : [line]))).toEqual([
    'DEPTH = 9               # layers',
    'ADAM_BETAS = (0.8, 0.975)',
  ]);
  expect(differingKeys(readPoint(program), readPoint(changed))).toEqual(['DEPTH', 'ADAM_BETAS[1]']);
  expect(differingKeys(readPoint(program), readPoint({ ...program, source: `${SCRIPT}# more` }))).toBeNull();
});

it('turns a knob where the config overrides it', () => {
  const overridden = { source: SCRIPT, config: { DEPTH: 6, ADAM_BETAS: [0.9, 0.99] } };
  expect(readPoint(overridden).values.get('DEPTH')).toEqual({ kind: 'int', value: 6, base: null });
  const seven: Literal = { kind: 'int', value: 7, base: null };
  const half: Literal = { kind: 'float', value: 0.5 };
  const changed = applySettings(overridden, [
    { key: 'DEPTH', value: seven },
    { key: 'ADAM_BETAS[0]', value: half },
  ]);
  expect(changed).toEqual({ source: SCRIPT, config: { DEPTH: 7, ADAM_BETAS: [0.5, 0.99] } });
});

it('writes numbers that it reads back as the same', () => {
  const numbers = fc.oneof(
    fc.integer({ min: -1e9, max: 1e9 }).map((value): Literal => ({ kind: 'int', value, base: null })),
    fc
      .double({ noNaN: true, noDefaultInfinity: true })
      .map((value): Literal => ({ kind: 'float', value: value === 0 ? 0 : value })),
  );
  fc.assert(
    fc.property(numbers, (literal) => {
      expect(parseLiteral(formatLiteral(literal))).toEqual(literal);
    }),
    {
      examples: [[{ kind: 'float', value: 1e15 }], [{ kind: 'float', value: -1e20 }], [{ kind: 'float', value: 1e21 }]],
    },
  );
});

it('never reads a text of any shape as more than it is, and always ends', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 2_000 }), (text) => {
      for (const { value, line, lineIndex } of findKnobs(text)) {
        expect(text.split('\n')[lineIndex]).toBe(line);
        expect(line).toContain(value);
      }
    }),
  );
  expect(findKnobs(`A = ${' '.repeat(400_000)}"`)).toEqual([]);
});

it('tells rules of the game from knobs by their names where the task is not known', () => {
  const rules = ['SEED', 'TIME_BUDGET', 'MAX_STEPS', 'EVAL_TOKENS', 'TRAIN_BYTES', 'VOCAB_SIZE', 'DATA_DIR'];
  const knobs = ['DEPTH', 'DEVICE_BATCH_SIZE', 'TOTAL_BATCH_SIZE', 'MATRIX_LR', 'WARMUP_STEPS', 'ADAM_BETAS'];
  expect(rules.filter(isRuleOfTheGame)).toEqual(rules);
  expect(knobs.filter(isRuleOfTheGame)).toEqual([]);
});
