import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson, isSha256, sha256, sha256ToBytes32 } from './hash.ts';

describe('sha256', () => {
  it('hashes text in UTF-8 as it is, line ends included', () => {
    const unix = 'sha256:cc42155088fca5730758db72b2a5bca33112a941dfaa2d43098ec422ce4ea213';
    expect(sha256('print(1)\n')).toBe(unix);
    expect(sha256(new TextEncoder().encode('print(1)\n'))).toBe(unix);
    expect(sha256('print(1)\r\n')).not.toBe(unix);
    expect(sha256ToBytes32(sha256('print(1)\n'))).toBe(`0x${unix.slice(7)}`);
  });

  it.each(['', 'sha256:', 'SHA256:'.concat('0'.repeat(64)), `sha256:${'A'.repeat(64)}`, `sha256:${'0'.repeat(63)}`])(
    'does not take %j for a hash',
    (text) => {
      expect(isSha256(text)).toBe(false);
    },
  );

  it.each([`sha256:${'0'.repeat(64)}\n`, ` sha256:${'0'.repeat(64)}`, `0x${'0'.repeat(64)}`])(
    'does not take %j for a hash either',
    (text) => {
      expect(isSha256(text)).toBe(false);
    },
  );
});

describe('canonicalJson', () => {
  it('spells a value in one way, whatever the order of its keys', () => {
    expect(canonicalJson({ b: 1.0, a: [1e21, 'é', null], Δ: false })).toBe('{"a":[1e+21,"é",null],"b":1,"Δ":false}');
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.integer()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalJson(reversed)).toBe(canonicalJson(value));
      }),
    );
  });

  it('has no form for what JSON cannot hold', () => {
    expect(() => canonicalJson(undefined)).toThrow(TypeError);
    expect(() => canonicalJson({ a: Number.NaN })).toThrow();
    expect(() => canonicalJson({ a: Number.POSITIVE_INFINITY })).toThrow();
  });
});
