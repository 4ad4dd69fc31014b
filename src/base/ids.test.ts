import { describe, expect, it } from 'vitest';
import {
  createExperimentId,
  createLoopId,
  createQuoteId,
  ExperimentId,
  LoopId,
  QuoteId,
  workerExperimentId,
} from './ids.ts';

const now = new Date('2026-11-30T23:59:59.999Z');

describe('ids', () => {
  it('carry the day in UTC and differ every time', () => {
    const ids = Array.from({ length: 200 }, () => createExperimentId(now));
    expect(new Set(ids).size).toBe(200);
    expect(ids[0]).toMatch(/^exp-20261130-[0-9a-f]{16}$/);
    expect(createLoopId(now)).toMatch(/^loop-20261130-[0-9a-f]{16}$/);
    expect(createQuoteId()).toMatch(/^quote-[0-9a-f]{24}$/);
  });

  it('give a worker an id of its own alphabet and length for every attempt', () => {
    const id = createExperimentId(now);
    const names = [1, 2, 400].map((attempt) => workerExperimentId(id, attempt));
    expect(new Set(names).size).toBe(3);
    for (const name of names) expect(name).toMatch(/^[a-zA-Z0-9_-]{16,64}$/);
  });

  it.each(['exp-20261130-', 'exp-20261130-0123456789abcdeg', 'EXP-20261130-0123456789abcdef', '../etc/passwd', ''])(
    'are not %j',
    (text) => {
      expect([ExperimentId, LoopId, QuoteId].map((schema) => schema.safeParse(text).success)).toEqual([
        false,
        false,
        false,
      ]);
    },
  );
});
