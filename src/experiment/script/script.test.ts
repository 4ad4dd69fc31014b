import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../base/json.ts';
import { ScriptReader } from '../gate/script-reader.ts';
import { findChanges } from './changes.ts';
import { readLiteral } from './literal.ts';
import { buildEffectiveForm, readKnobs } from './normal-form.ts';
import { readTokenFacts } from './token-facts.ts';
import { tokenize } from './tokens.ts';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const STDLIB = read('../../localnet/examples/train_stdlib.py');
const NUMPY = read('../../localnet/examples/train_numpy.py');
const GPT = read('../../../test/fixtures/scripts/train_gpt.py');

const literal = (text: string) => readLiteral(tokenize(text).tokens.filter(({ kind }) => kind !== 'newline'));
const effect = (source: string, config: JsonObject = {}) => buildEffectiveForm(source, config).effectiveHash;
const seedless = (source: string, config: JsonObject = {}) => buildEffectiveForm(source, config).seedlessHash;

/** Odd corners of the language, each with something that a careless reader takes for something else. */
const CORNERS = [
  'x = (1,\n     2)\nif x:\n    y = 1\nelse:\n    y = 2\n',
  'if True: a = 1; b = 2\nc = 3\n',
  'class A:\n    """about"""\n    def f(self, *, k: int = 3) -> int:\n        return k\n\n    z = 1\n',
  's = "a" \'b\' + "c"\nt = r"\\d\\n" + f"{s!r:>{10}} {{x}}"\n',
  'for i, (a, *b) in enumerate([1]):\n    d[i].e = a\n    f(i)[a], g.h = 1, 2\n',
  'import a.b.c, d as e\nfrom .f import (g as h,\n  i)\n',
  'with open("x") as y, z() as w:\n\tpass\n',
  'try:\n    a\nexcept (B, C) as d:\n    raise\nfinally:\n    e\n',
  'x = lambda a, b=1: a + b\nw = y = {k: v for k, v in q.items()}\nz: int = 3\n',
  'def f():\n    global G\n    G += 1\n    async_ = (n := 10)\n@deco(1)\ndef g(a, /, b): return a\n',
  'a = 1 \\\n  + 2\nprint(f"{a:.3f} {b[\'k\']} {c.d(e=1)}")\n',
  'x = """two\nlines # no comment\n"""  # a comment\nmatch = x\nmatch[0] = 1\n',
  'x = 0xFF + 1_000 + 1e-3 + .5 + 5. + 3j\nif(x):pass\n',
  'while x:\n    if y: break\n    # less\n  # even less\n    x -= 1\nelse:\n    z\n',
];

/** Heads that say nothing: Python's tree has none for them. */
const BARE = new Set(['else', 'try', 'finally']);

/** What two readers must agree on, whatever their normal form of a text is. */
function comparable(facts: ReturnType<typeof readTokenFacts>) {
  const statements = facts.statements.filter(({ text }) => !BARE.has(text));
  return statements.map(({ text: _own, calls, ...rest }) => ({
    ...rest,
    names: rest.names.toSorted(),
    paths: [...new Set(rest.paths)].toSorted(),
    strings: rest.strings.toSorted(),
    calls: calls.map((call) => JSON.stringify(call)).toSorted(),
  }));
}

describe('our reader', () => {
  it("finds what Python's own parser finds", async () => {
    const sources = [STDLIB, NUMPY, GPT, ...CORNERS];
    const facts = await new ScriptReader('python3', 100).read(sources);
    for (const [index, source] of sources.entries()) {
      const own = readTokenFacts(source);
      expect(own.fault, source).toBeNull();
      expect(facts[index]?.statements.length, source).toBeGreaterThan(0);
      expect(comparable(own), source).toEqual(comparable(facts[index] ?? own));
    }
  });

  it('ends on any text, with lines that exist', () => {
    const pieces = fc.constantFrom(
      '"',
      "'",
      '"""',
      '{',
      '}',
      '(',
      ')',
      '[',
      ']',
      '\n',
      '    ',
      '\t',
      'f"',
      '\\',
      '#',
      ':',
    );
    const text = fc.array(fc.oneof(pieces, fc.constantFrom('def f', 'x', '= 1', 'lambda', 'é', ' '), fc.string()));
    fc.assert(
      fc.property(text, (parts) => {
        const source = parts.join('');
        const { fault, statements } = readTokenFacts(source);
        const count = source.split(/\r\n?|\n/).length;
        for (const line of [fault?.line ?? 1, ...statements.map((statement) => statement.line)])
          expect(line >= 1 && line <= count).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it('survives nesting that is meant to break it', () => {
    for (const source of [`x = ${'('.repeat(100_000)}`, `x = ${'['.repeat(100_000)}${']'.repeat(100_000)}`])
      expect(readTokenFacts(source).fault).not.toBeNull();
    expect(
      readTokenFacts(Array.from({ length: 5_000 }, (_, depth) => `${' '.repeat(depth)}if 1:`).join('\n')).fault,
    ).not.toBeNull();
    expect(readTokenFacts(`x = ${'-'.repeat(50_000)}1`).fault).toBeNull();
  });
});

describe('readLiteral', () => {
  it.each([
    ['2**19', 524_288],
    ['1_000 * 2 - 5', 1_995],
    ['-(3 + 1) // 2', -2],
    ['2 ** -1', 0.5],
    ['(0.9, 0.99)', [0.9, 0.99]],
    ['(1,)', [1]],
    ['[]', []],
    ['0.9, 0.99', [0.9, 0.99]],
    ['"a" \'b\'', 'ab'],
    ['True', true],
    ['None', null],
    ['-1', -1],
  ])('reads %s as %j', (text, value) => {
    expect(literal(text)).toEqual(value);
  });

  it.each(['x', 'f(1)', '1 if 2 else 3', '9**9**9**9', '1/0', '3j', 'f"{x}"', 'b"x"', '1 +', '"a" + 1', ''])(
    'finds no literal in %s',
    (text) => {
      expect(literal(text) === undefined || text === '').toBe(true);
    },
  );

  it('does not overflow on a long chain of signs', () => {
    expect(() => literal('-'.repeat(200_000))).not.toThrow();
  });
});

describe('the effective form', () => {
  it('is the same for another spelling of the same program', () => {
    const base = 'DEPTH = 8\nLR = 0.5  # rate\n\n\ndef f(x):\n    """About."""\n    return x\n';
    for (const other of [
      'DEPTH=8\nLR = .5\ndef f(x):\n  return x',
      '# new\nDEPTH = 8\r\nLR = 5e-1\r\ndef f( x ):\r\n\treturn x\r\n',
      'DEPTH = 0x8\nLR = (0.5)\ndef f(x):\n    return x\n',
      'DEPTH: int = 2**3\nLR = 0.5\ndef f(x): \\\n    return x\n',
    ])
      expect(effect(other.replace('f(x): \\\n    return x', 'f(x):\n    return x')), other).toBe(effect(base));
    for (const other of ['DEPTH = 9', 'DEPTH = "8"', 'DEPTH = 8\nLR = 0.51', 'if 1:\n    DEPTH = 8'])
      expect(effect(other)).not.toBe(effect('DEPTH = 8'));
    expect(effect('if a:\n    b\n    c\n')).not.toBe(effect('if a:\n    b\nc\n'));
  });

  it('takes a value of the config for the same value in the source, where the script does', () => {
    const edited = STDLIB.replace('MAX_ORDER = 4 ', 'MAX_ORDER = 5 ');
    expect(effect(STDLIB, { MAX_ORDER: 5 })).toBe(effect(edited));
    expect(effect(STDLIB, { MAX_ORDER: 4 })).toBe(effect(STDLIB));
    expect(effect(NUMPY, { ADAM_BETAS: [0.9, 0.999] })).toBe(effect(NUMPY.replace('(0.9, 0.99)', '(0.9, 0.999)')));
    expect(effect(STDLIB, { UNKNOWN: 1 })).not.toBe(effect(STDLIB));
    expect(effect(STDLIB, { MAX_ORDER: 5 })).not.toBe(effect(STDLIB));
  });

  it('ignores a config that the script never reads', () => {
    expect(effect(GPT, { DEPTH: 9 })).toBe(effect(GPT));
    expect(effect('print("val_bpb: 1")', { a: 1 })).toBe(effect('print("val_bpb: 1")'));
  });

  it('knows variants that differ in their seeds alone', () => {
    expect(seedless(NUMPY.replace('SEED = 42', 'SEED = 7'))).toBe(seedless(NUMPY));
    expect(seedless(NUMPY, { SEED: 7 })).toBe(seedless(NUMPY));
    expect(seedless(GPT.replaceAll('manual_seed(42)', 'manual_seed(7)'))).toBe(seedless(GPT));
    expect(effect(NUMPY, { SEED: 7 })).not.toBe(effect(NUMPY));
    expect(seedless(NUMPY, { SEED: 7, DEPTH: 3 })).not.toBe(seedless(NUMPY));
  });
});

describe('findChanges', () => {
  const changes = (source: string, config: JsonObject = {}) =>
    findChanges({ source: NUMPY, config: {} }, { source, config });

  it('names knobs with their direction, wherever they are set', () => {
    expect(changes(NUMPY.replace('DEPTH = 2 ', 'DEPTH = 3 '))).toEqual({
      knobs: [{ name: 'DEPTH', direction: 'up', to: '3' }],
      lines: '',
    });
    expect(changes(NUMPY, { MATRIX_LR: 0.001, ACTIVATION: 'tanh' }).knobs).toEqual([
      { name: 'ACTIVATION', direction: 'other', to: '"tanh"' },
      { name: 'MATRIX_LR', direction: 'down', to: '0.001' },
    ]);
  });

  it('keeps the other lines apart, and nothing of another layout', () => {
    const { knobs, lines } = changes(
      NUMPY.replace('return x * r, r', 'return x * r + 0, r').replace('DEPTH = 2 ', 'DEPTH = 2  '),
    );
    expect(knobs).toEqual([]);
    expect(lines.split('\n')).toEqual(['-return x * r , r', '+return x * r + 0 , r']);
  });

  it('finds the knobs of the example jobs', () => {
    const knobs = readKnobs(GPT);
    expect(knobs.get('TOTAL_BATCH_SIZE')?.value).toBe(524_288);
    expect(knobs.get('ADAM_BETAS')?.value).toEqual([0.8, 0.95]);
    expect(knobs.get('WINDOW_PATTERN')?.value).toBe('SSSL');
    expect(readKnobs(STDLIB).size).toBe(8);
  });
});
