import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { formatTaskFault, readTaskFiles } from './task-files.ts';

const SOUND = {
  name: 'mine',
  signature: { names: ['my_model'], knobs: ['WIDTH'], atLeast: 1 },
  lockedKnobs: ['STEPS'],
  budgetRule: { kind: 'steps', text: 'STEPS steps.' },
};

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'autoresearch-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const put = (file: string, content: unknown) =>
  writeFileSync(join(folder, file), typeof content === 'string' ? content : JSON.stringify(content));
const readFaults = () => readTaskFiles(folder).faults.map(formatTaskFault);

describe('readTaskFiles', () => {
  it('reads every definition in the order of the file names, with defaults for what is left out', () => {
    put('b.json', { ...SOUND, name: 'second' });
    put('a.json', SOUND);
    put('notes.txt', 'no task');
    const { tasks, faults } = readTaskFiles(folder);
    expect(faults).toEqual([]);
    expect(tasks.map(({ name }) => name)).toEqual(['mine', 'second']);
    expect(tasks[0]).toMatchObject({ lockedKnobs: ['STEPS'], plausible: { min: 0.5, max: 10 }, seedKnob: null });
  });

  it('knows no tasks without a folder', () => {
    expect(readTaskFiles(undefined)).toEqual({ tasks: [], faults: [] });
  });

  const wrong: readonly (readonly [string, unknown, RegExp])[] = [
    ['no JSON', '{"name": ', /^wrong\.json: it is not JSON$/],
    ['a list', [], /^wrong\.json: .*expected object/],
    ['a missing field', { ...SOUND, budgetRule: undefined }, /^wrong\.json, field budgetRule: /],
    ['a wrong field within another', { ...SOUND, signature: { names: 'x' } }, /^wrong\.json, field signature\.names: /],
    ['a wrong item of a list', { ...SOUND, lockedKnobs: ['STEPS', 'a b'] }, /^wrong\.json, field lockedKnobs\.1: /],
    ['a misspelt field', { ...SOUND, lockedKnob: ['STEPS'] }, /^wrong\.json: .*"lockedKnob"/],
    ['a name of nothing', { ...SOUND, name: 'unknown' }, /^wrong\.json, field name: /],
    ['a direction that nobody judges by', { ...SOUND, direction: 'higher' }, /^wrong\.json, field direction: .*lower/],
    ['a metric that nobody reads', { ...SOUND, metric: 'loss' }, /^wrong\.json, field metric: .*val_bpb/],
    ['an empty range', { ...SOUND, plausible: { min: 3, max: 2 } }, /^wrong\.json, field plausible: /],
    ['a name that another has', SOUND, /^wrong\.json, field name: .*"mine"/],
    ['too much', ' '.repeat(300_000), /^wrong\.json: it has 300000 bytes/],
  ];
  it.each(wrong)('says what is wrong with %s, and keeps the others', (_name, content, fault) => {
    put('right.json', SOUND);
    put('wrong.json', content);
    expect(readFaults()).toEqual([expect.stringMatching(fault)]);
    expect(readTaskFiles(folder).tasks).toHaveLength(1);
  });

  it('says what cannot be read', () => {
    mkdirSync(join(folder, 'folder.json'));
    expect(readFaults()).toEqual([expect.stringMatching(/^folder\.json: it cannot be read \(EISDIR\)$/)]);
    const [fault] = readTaskFiles(join(folder, 'nowhere')).faults;
    expect(fault).toMatchObject({ field: null, reason: 'the folder cannot be read (ENOENT)' });
  });

  it('makes of any JSON either a task or a fault that names its file', () => {
    const part = fc.oneof(fc.jsonValue(), fc.constantFrom(...Object.values(SOUND)));
    const fields = fc.dictionary(fc.constantFrom(...Object.keys(SOUND), 'plausible', 'knobRanges', 'x'), part);
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fields), (content) => {
        put('any.json', JSON.stringify(content));
        const { tasks, faults } = readTaskFiles(folder);
        expect(tasks.length + faults.length).toBe(1);
        expect(faults.every(({ file }) => file === 'any.json')).toBe(true);
      }),
    );
  });
});
