import { describe, expect, it } from 'vitest';
import { SearchMemory } from './search-memory.ts';

describe('the search for a lost job', () => {
  it('pauses longer and longer between its looks, and ends', () => {
    const memory = new SearchMemory();
    const looks: number[] = [];
    for (let nowMs = 0; !memory.isOver; nowMs += 1_000) if (memory.mayLook(nowMs, 1_000)) looks.push(nowMs / 1_000);
    expect(looks).toEqual([0, 4, 20, 84, 340, 640, 940, 1_240]);
  });

  it('is over after a handful of jobs that are not ours', () => {
    const memory = new SearchMemory();
    for (const jobId of ['a', 'b', 'b', 'c', 'd']) memory.foreign.add(jobId);
    expect([memory.isOver, memory.foreignLeft]).toEqual([false, 1]);
    memory.foreign.add('e');
    expect([memory.isOver, memory.foreignLeft]).toEqual([true, 0]);
  });

  it('is over where there is no list, and signs in so many times only', () => {
    const memory = new SearchMemory();
    const allowed = Array.from({ length: 50 }, () => memory.maySignIn()).filter(Boolean);
    expect([allowed.length, memory.isOver]).toEqual([40, false]);
    memory.close();
    expect(memory.isOver).toBe(true);
  });
});
