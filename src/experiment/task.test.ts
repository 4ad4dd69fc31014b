import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { findTask, isKnown, READY_TASKS, UNKNOWN_TASK } from './task.ts';
import { TaskSchema } from './task-schema.ts';

const read = (name: string) => readFileSync(new URL(name, import.meta.url), 'utf8');
const STDLIB = read('../localnet/examples/train_stdlib.py');
const NUMPY = read('../localnet/examples/train_numpy.py');

describe('findTask', () => {
  it('recognises the example jobs, also after honest edits', () => {
    expect(findTask(STDLIB).name).toBe('train_stdlib');
    expect(findTask(NUMPY).name).toBe('train_numpy');
    expect(findTask(STDLIB.replace('MAX_ORDER = 4', 'MAX_ORDER: int = 5')).name).toBe('train_stdlib');
    expect(findTask(NUMPY.replace(/^"""[\s\S]*?"""/, '').replace('DEPTH = 2', 'LAYERS = 3')).name).toBe('train_numpy');
  });

  it('knows nothing of other scripts, whatever words they share', () => {
    for (const source of ['print("val_bpb: 1.0")\n', '', '# pydoc_data.topics TRAIN_BYTES UNIFORM_MIX\n'])
      expect(findTask(source)).toBe(UNKNOWN_TASK);
    expect(isKnown(UNKNOWN_TASK)).toBe(false);
  });

  it("takes the operator's task before a ready one", () => {
    const own = TaskSchema.parse({
      name: 'mine',
      signature: { names: ['MAX_ORDER'] },
      budgetRule: { kind: 'data', text: 'all of it' },
    });
    expect(findTask(STDLIB, [own, ...READY_TASKS]).name).toBe('mine');
  });
});

describe('the ready tasks', () => {
  it('lock budgets and seeds that their scripts really have', () => {
    const scripts: Readonly<Record<string, string>> = { train_numpy: NUMPY, train_stdlib: STDLIB };
    for (const task of READY_TASKS) {
      const source = scripts[task.name];
      if (source === undefined) continue;
      const names = [...task.lockedKnobs, ...Object.keys(task.knobRanges), ...(task.seedKnob ? [task.seedKnob] : [])];
      for (const name of names) expect(source).toMatch(new RegExp(`^${name} = `, 'm'));
      for (const name of [...task.protectedNames, ...task.validationNames, ...task.watchedNames, ...task.budgetNames])
        expect(source, `${task.name} has no ${name}`).toMatch(new RegExp(`\\b${name}\\b`));
    }
  });

  it('believe the results that the example jobs are known to give', () => {
    const known: readonly (readonly [number, number[]])[] = [
      [1, [2.140591, 1.982376, 5.935077]],
      [2, [1.71907, 1.632244, 3.071124]],
    ];
    for (const [index, scores] of known) {
      const { plausible } = READY_TASKS[index] ?? UNKNOWN_TASK;
      for (const score of scores) expect(score > plausible.min && score < plausible.max).toBe(true);
    }
  });
});
