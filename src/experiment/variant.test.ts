import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../base/errors.ts';
import { sha256 } from '../base/hash.ts';
import type { JsonObject } from '../base/json.ts';
import { describeVariant } from './describe.ts';
import { applyEdits } from './edits.ts';
import { createVariant, hashParent, hashVariant, MAX_SOURCE_BYTES } from './variant.ts';

const make = (source: string, config: JsonObject = {}) => createVariant({ source, base: null, edits: [], config });

describe('applyEdits', () => {
  const base = 'DEPTH = 8\nLR = 0.04\nDEPTH_MULT = 2\n';

  it('applies edits one after the other, each to what the ones before made', () => {
    const edits = [
      { search: 'LR = 0.04', replace: 'LR = 0.02\nDEPTH_NEW = 1' },
      { search: 'DEPTH_NEW = 1', replace: 'DEPTH_NEW = 9' },
      { search: 'DEPTH_MULT = 2\n', replace: '' },
    ];
    expect(applyEdits(base, edits)).toBe('DEPTH = 8\nLR = 0.02\nDEPTH_NEW = 9\n');
    expect(applyEdits(base, [])).toBe(base);
  });

  it('puts a replacement in as it is, whatever it means to others', () => {
    expect(applyEdits('a = 1', [{ search: '1', replace: "$& $1 $' $$ \\n" }])).toBe("a = $& $1 $' $$ \\n");
    expect(applyEdits('a.b = 1\naxb = 2', [{ search: 'a.b', replace: 'c' }])).toBe('c = 1\naxb = 2');
  });

  it.each([
    ['edit_no_match', 'Edit 1', { search: 'DEPHT = 8', replace: '' }],
    ['edit_no_match', 'line 1: "DEPTH = 8"', { search: 'DEPTH = 9', replace: '' }],
    ['edit_no_match', 'Edit 1', { search: '', replace: 'x' }],
    ['edit_no_match', 'Edit 1', { search: 'LR = 0.04\r\n', replace: '' }],
    ['edit_ambiguous', 'lines 1 and 3', { search: 'DEPTH', replace: 'x' }],
  ])('refuses with %s and says %j', (code, words, edit) => {
    const attempt = () => applyEdits(base, [edit]);
    expect(attempt).toThrow(InputError);
    expect(attempt).toThrow(words);
    expect(attempt).toThrow(expect.objectContaining({ code }));
  });

  it('finds two matches that overlap ambiguous', () => {
    expect(() => applyEdits('aaa', [{ search: 'aa', replace: 'b' }])).toThrow(/more than once/);
  });

  it('keeps its error short on a source without line ends', () => {
    const long = 'x'.repeat(300_000);
    expect(() => applyEdits(long, [{ search: `${long}y`, replace: '' }])).toThrow(InputError);
  });

  it('changes exactly the text that it names', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string({ minLength: 1 }),
        fc.string(),
        fc.string(),
        (left, search, right, replace) => {
          const source = left + search + right;
          if (source.indexOf(search) !== left.length || source.indexOf(search, left.length + 1) >= 0) return;
          expect(applyEdits(source, [{ search, replace }])).toBe(left + replace + right);
        },
      ),
    );
  });
});

describe('a unified diff', () => {
  const base = Array.from({ length: 12 }, (_, index) => `L${index + 1} = ${index + 1}\n`).join('');
  const apply = (diff: string, source = base) => applyEdits(source, [{ diff }]);

  it('changes what it names, at the lines that it names or where they have moved to', () => {
    const diff = '--- a/train.py\n+++ b/train.py\n@@ -2,3 +2,3 @@\n L2 = 2\n-L3 = 3\n+L3 = 30\n L4 = 4\n';
    expect(apply(diff)).toBe(base.replace('L3 = 3\n', 'L3 = 30\n'));
    expect(apply(diff.replace('-2,3 +2,3', '-9,3 +9,3'))).toBe(base.replace('L3 = 3\n', 'L3 = 30\n'));
    expect(apply(diff.trimEnd().replace(/^---[^@]*/, ''))).toBe(base.replace('L3 = 3\n', 'L3 = 30\n'));
  });

  it('takes its place among other edits', () => {
    const edits = [
      { search: 'L1 = 1\n', replace: 'L1 = 100\n' },
      { diff: '@@ -1,2 +1,2 @@\n-L1 = 100\n+L1 = 101\n L2 = 2\n' },
    ];
    expect(applyEdits(base, edits)).toBe(base.replace('L1 = 1\n', 'L1 = 101\n'));
  });

  const TWO = '@@ -1,1 +1,1 @@\n-L1 = 1\n+L1 = 0\n';
  it.each([
    ['edit_no_match', 'the hunk of lines 3 to 4', `${TWO}@@ -3,2 +3,2 @@\n-L3 = 33\n+L3 = 4\n L4 = 4\n`],
    ['edit_no_match', 'line 3: "L3 = 3"', '@@ -3,1 +3,1 @@\n-L3 = 33\n+L3 = 4\n'],
    ['edit_no_match', 'another order', '@@ -3,2 +3,2 @@\n-L5 = 5\n-L4 = 4\n+L3 = 4\n+L4 = 4\n'],
    ['bad_edit', 'cannot be read', '@@ -3,7 +3,1 @@\n-L3 = 3\n+L3 = 4\n'],
    ['bad_edit', 'no hunk', 'just words'],
    ['bad_edit', '2 files', `--- a\n+++ a\n${TWO}--- b\n+++ b\n${TWO}`],
  ])('is refused with %s, naming %j', (code, words, diff) => {
    const attempt = () => apply(diff);
    expect(attempt).toThrow(expect.objectContaining({ code }));
    expect(attempt).toThrow(words);
  });

  it('is ambiguous where its lines are not at their place and stand at two others', () => {
    const twice = 'x = 1\ny = 2\nz = 3\nx = 1\ny = 2\n';
    const diff = '@@ -3,2 +3,2 @@\n x = 1\n-y = 2\n+y = 3\n';
    expect(() => apply(diff, twice)).toThrow(expect.objectContaining({ code: 'edit_ambiguous' }));
    expect(() => apply(diff, twice)).toThrow(/lines 1, 4/);
    expect(apply(diff.replace('-3,2 +3,2', '-4,2 +4,2'), twice)).toBe('x = 1\ny = 2\nz = 3\nx = 1\ny = 3\n');
  });

  it('stands alone in its edit', () => {
    for (const edit of [{}, { search: 'L1' }, { replace: 'x' }, { search: 'L1', replace: 'x', diff: TWO }])
      expect(() => applyEdits(base, [edit])).toThrow(expect.objectContaining({ code: 'bad_edit' }));
  });
});

describe('createVariant', () => {
  it('hashes the source as it is, line ends and all', () => {
    const hashes = ['a = 1\n', 'a = 1\r\n', 'a = 1', '\ufeffa = 1\n', 'a = "é"\n', 'a = "e\u0301"\n'].map(
      (source) => make(source).trainHash,
    );
    expect(new Set(hashes).size).toBe(hashes.length);
    expect(make('print(1)\n').trainHash).toBe(
      'sha256:cc42155088fca5730758db72b2a5bca33112a941dfaa2d43098ec422ce4ea213',
    );
  });

  it('is another variant with another config, the same with the same in another order', () => {
    const { variantHash } = make('a', { DEPTH: 8, LR: 0.1 });
    expect(make('a', { LR: 0.1, DEPTH: 8.0 }).variantHash).toBe(variantHash);
    expect(make('a', { DEPTH: 9, LR: 0.1 }).variantHash).not.toBe(variantHash);
    expect(make('a').variantHash).not.toBe(variantHash);
    expect(variantHash).toBe(sha256(`{"config":{"DEPTH":8,"LR":0.1},"train_hash":"${sha256('a')}"}`));
    expect(hashVariant(sha256('a'), {})).toBe(sha256(`{"config":{},"train_hash":"${sha256('a')}"}`));
  });

  it.each<[string, string, JsonObject]>([
    ['an empty source', ' \n\t', {}],
    ['a lone surrogate', 'a = "\ud800"', {}],
    ['a NUL', 'a = 1\0', {}],
    ['a source that is too large', '#'.repeat(MAX_SOURCE_BYTES + 1), {}],
    ['a source that is too large in UTF-8', 'é'.repeat(MAX_SOURCE_BYTES / 2 + 1), {}],
    ['a config that is too large', 'a', { x: 'y'.repeat(20_000) }],
    ['a lone surrogate in the config', 'a', { x: 'y\ud800' }],
    ['a lone surrogate in a name of the config', 'a', { 'x\udfff': 1 }],
  ])('refuses %s before anything is paid', (_name, source, config) => {
    expect(() => make(source, config)).toThrow(InputError);
  });

  it('knows its parent and what is different about it', () => {
    const variant = createVariant({
      source: 'DEPTH = 8\nLR = 1\n',
      base: 'DEPTH = 8\nLR = 1\n',
      edits: [{ search: 'DEPTH = 8', replace: 'DEPTH = 9' }],
      config: {},
    });
    expect(variant).toMatchObject({ parentHash: sha256('DEPTH = 8\nLR = 1\n'), description: 'DEPTH 8 → 9' });
    expect(make('a').parentHash).toBeNull();
  });

  it('that was given whole inherits no config, and knows that of its parent all the same', () => {
    const base = 'DEPTH = 8\nLR = 1\n';
    const parent = createVariant({ source: base, base: null, edits: [], config: { LR: 5 } });
    const place = { base, baseConfig: parent.config, edits: [], config: {} };
    const variant = createVariant({ ...place, source: base.replace('8', '9'), isWhole: true });
    expect(variant).toMatchObject({ config: {}, description: 'DEPTH 8 → 9, LR 5 → as in the source' });
    expect(hashParent(variant)).toBe(parent.variantHash);
    expect(hashParent(parent)).toBeNull();
  });
});

describe('describeVariant', () => {
  it.each<[string | null, string, JsonObject, string]>([
    [null, 'a', {}, 'new source'],
    [null, 'a', { DEPTH: 9 }, 'DEPTH := 9'],
    ['a = 1\n', 'a = 1\n', {}, 'unchanged'],
    ['a = 1\nb = 2\n', 'a = 2  # more\nb = 3\n', {}, 'a 1 → 2, b 2 → 3'],
    ['a = 1\n', 'a = 1\nfoo()\n', {}, '+1 −0 lines'],
    ['a = 1\nfoo()\n', 'a = 2\nbar()\n', { X: [1] }, 'a 1 → 2, +1 −1 lines, X := [1]'],
  ])('says how %j and %j with %j differ', (base, source, config, text) => {
    expect(describeVariant(base, source, config)).toBe(text);
  });

  it('stays within one line of bounded length', () => {
    const sources = fc.array(fc.stringMatching(/^[A-Z]{1,3} = [0-9]{1,4}$/), { maxLength: 40 });
    fc.assert(
      fc.property(sources, sources, (before, after) => {
        const text = describeVariant(before.join('\n'), after.join('\n'), {});
        expect(text.length).toBeLessThanOrEqual(160);
        expect(text).not.toContain('\n');
      }),
      { numRuns: 200 },
    );
  });
});
