import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { HostGate } from './host-gate.ts';

/** Tasks that end when they are told to, with a count of how many run. */
function createTasks() {
  const open: (() => void)[] = [];
  return {
    open,
    start: () => new Promise<void>((resolve) => open.push(resolve)),
  };
}

const never = new AbortController().signal;
setMaxListeners(0, never);
const tick = () => new Promise((resolve) => setImmediate(resolve));

describe('HostGate', () => {
  it('runs four at once for a host of a stranger, without holding up other hosts', async () => {
    const gate = new HostGate();
    const tasks = createTasks();
    const running = Array.from({ length: 10 }, () => gate.run('slow', false, never, tasks.start));
    await tick();
    expect(tasks.open).toHaveLength(4);
    await expect(gate.run('other', false, never, async () => 'done')).resolves.toBe('done');
    for (let index = 0; index < 10; index += 1) {
      tasks.open[index]?.();
      await tick();
    }
    await Promise.all(running);
    expect(tasks.open).toHaveLength(10);
  });

  it('runs 128 at once over all hosts, and more for hosts of the operator', async () => {
    const gate = new HostGate();
    const tasks = createTasks();
    const start = (host: string, isOwn: boolean) => gate.run(host, isOwn, never, tasks.start);
    const running = [
      ...Array.from({ length: 70 }, () => start('own', true)),
      ...Array.from({ length: 100 }, (_, index) => start(`host-${index}`, false)),
    ];
    await tick();
    expect(tasks.open).toHaveLength(128);
    for (let index = 0; index < 170; index += 1) {
      tasks.open[index]?.();
      await tick();
    }
    await Promise.all(running);
  });

  it('starts what tells whom to ask next before all that waits', async () => {
    const gate = new HostGate();
    const tasks = createTasks();
    const running = Array.from({ length: 128 }, (_, index) => gate.run(`host-${index}`, false, never, tasks.start));
    const order: string[] = [];
    const note = (name: string) => async () => void order.push(name);
    const waiting = [
      gate.run('late', false, never, note('file')),
      gate.run('index', false, never, note('page of the index'), true),
    ];
    await tick();
    for (const finish of tasks.open) finish();
    await Promise.all([...running, ...waiting]);
    expect(order).toEqual(['page of the index', 'file']);
  });

  it('lets what waits go when the call is over, and passes failures on', async () => {
    const gate = new HostGate();
    const tasks = createTasks();
    const over = new AbortController();
    const running = Array.from({ length: 4 }, () => gate.run('h', false, never, tasks.start));
    const late = gate.run('h', false, over.signal, async () => 'gave up');
    over.abort();
    await expect(late).resolves.toBe('gave up');
    for (const finish of tasks.open) finish();
    await Promise.all(running);
    await expect(gate.run('h', false, never, () => Promise.reject(new Error('x')))).rejects.toThrow('x');
    await expect(gate.run('h', false, never, async () => 'free again')).resolves.toBe('free again');
  });
});
