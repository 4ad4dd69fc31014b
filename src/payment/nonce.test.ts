import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../base/hash.ts';
import { createNonce, createSalt } from './nonce.ts';

const codeHash = sha256('print(1)\n');
const worker = 'https://gpu.example/services/w1';
const salt = `0x${'11'.repeat(32)}` as const;

describe('createNonce', () => {
  it.each([
    [1, '0xefac9d33320fa720c0ec70189be2f04d498221b50e2196e4c017ba848c30d21a'],
    [2, '0xade44b854934d1aa9231c03b5a1b7e3666e46d58adb00fc82e29605db7dbaca7'],
  ])('gives the published nonce of attempt %d', (attempt, nonce) => {
    expect(createNonce('exp_0123456789abcdef', attempt, codeHash, worker, salt)).toBe(nonce);
  });

  it('differs as soon as anything that was bought differs', () => {
    const inputs = fc.tuple(fc.string(), fc.nat(), fc.string(), fc.webUrl());
    fc.assert(
      fc.property(inputs, inputs, (a, b) => {
        const nonce = ([id, attempt, code, url]: typeof a) => createNonce(id, attempt, sha256(code), url, salt);
        expect(nonce(a) === nonce(b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
      { numRuns: 300 },
    );
  });
});

describe('createSalt', () => {
  const secret = 'ab'.repeat(32);

  it('is the same for an attempt for ever, and tells nothing about another', () => {
    expect(createSalt(secret, 'exp-1', 1)).toBe(createSalt(secret, 'exp-1', 1));
    const salts = [
      ...[1, 2, 11].map((attempt) => createSalt(secret, 'exp-1', attempt)),
      createSalt(secret, 'exp-1\n1', 1),
      createSalt('cd'.repeat(32), 'exp-1', 1),
    ];
    expect(new Set(salts).size).toBe(salts.length);
    for (const each of salts) expect(each).toMatch(/^0x[0-9a-f]{64}$/);
  });
});
