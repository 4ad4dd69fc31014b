import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isShallow, JsonObject } from './json.ts';

/** Text of a value that nests so deep. */
function nest(depth: number, open = '[', close = ']'): unknown {
  return JSON.parse(`${open.repeat(depth)}1${close.repeat(depth)}`);
}

describe('isShallow', () => {
  it('takes what honest documents hold and refuses what overflows recursive readers', () => {
    expect([0, 1, 30, 64].map((depth) => isShallow(nest(depth)))).toEqual([true, true, true, true]);
    expect([65, 1_000, 200_000].map((depth) => isShallow(nest(depth)))).toEqual([false, false, false]);
    expect(isShallow(nest(50_000, '{"a":', '}'))).toBe(false);
  });

  it('takes wide values, and every value that JSON has', () => {
    expect(isShallow(Array.from({ length: 100_000 }, (_, index) => ({ index })))).toBe(true);
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 20 }), (value) => {
        expect(isShallow(value)).toBe(true);
      }),
    );
  });
});

describe('JsonObject', () => {
  it('refuses numbers that JSON cannot spell, lists and scalars', () => {
    for (const text of ['{"a":1e400}', '[]', 'null', '1', '"a"']) {
      expect(JsonObject.safeParse(JSON.parse(text)).success).toBe(false);
    }
  });

  it('does not let a stranger set a prototype', () => {
    const parsed = JsonObject.parse(JSON.parse('{"__proto__":{"isAdmin":true},"a":{"__proto__":{"isAdmin":true}}}'));
    expect(Object.getPrototypeOf(parsed)).toBe(Object.prototype);
    expect('isAdmin' in parsed).toBe(false);
    expect('isAdmin' in {}).toBe(false);
  });
});
