import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanUntrusted } from './untrusted.ts';

describe('cleanUntrusted', () => {
  it.each([
    ['a\u202eevil\u202c', 'a evil'],
    ['in\u200bvis\u200dible\ufeff', 'in vis ible'],
    ['tag\u{e0041}\u{e0042}s', 'tag s'],
    ['two\nlines\r\n\ttabs\u2028sep\u2029', 'two lines tabs sep'],
    ['\u001b[31mred\u0007', '[31mred'],
    ['soft\u00adhyphen', 'soft hyphen'],
    ['csi \u009b31m and del\u007f', 'csi 31m and del'],
    ['hidden\u{e0100}\u{e01ef}\ufe00letters', 'hidden letters'],
    ['tag start\u{e0000}\u{e0001}end', 'tag start end'],
    ['hangul\u3164\uffa0\u115f\u1160filler', 'hangul filler'],
    ['joined\u034f\u2060\u2064\u180e\u180b\u17b4up', 'joined up'],
    ['private\ue000\u{f0000}\u{10fffd}use', 'private use'],
    ['not\ufffe\uffffa\u{1fffe}character', 'not a character'],
    ['braille\u2800blank', 'braille blank'],
    ['object\ufffc', 'object\ufffc'],
    ['  spaced   out  ', 'spaced out'],
    ['e\u0301', 'é'],
    ['lone \ud800 half', 'lone \ufffd half'],
  ])('shows %j as %j', (text, shown) => {
    expect(cleanUntrusted(text, 100)).toBe(shown);
  });

  it.each([null, undefined, 5, {}, [], ['a'], true, '', '   ', '\u200b\u202e\n'])(
    'has nothing to show of %j',
    (value) => {
      expect(cleanUntrusted(value, 100)).toBeNull();
    },
  );

  it('cuts between characters, never within one', () => {
    expect(cleanUntrusted('😀'.repeat(10), 4)).toBe('😀😀😀…');
    expect(cleanUntrusted('😀'.repeat(4), 4)).toBe('😀😀😀😀');
  });

  it('copes with a megabyte, also of what normalising makes longer', () => {
    expect(cleanUntrusted('a'.repeat(1_000_000), 80)).toHaveLength(80);
    expect(cleanUntrusted('\ufdfa'.repeat(1_000_000), 80)?.length).toBeLessThanOrEqual(80);
    expect(cleanUntrusted('\u202e'.repeat(1_000_000), 80)).toBeNull();
  });

  it('leaves nothing invisible and keeps to its limit, whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.integer({ min: 1, max: 100 }), (text, maxChars) => {
        const clean = cleanUntrusted(text, maxChars);
        if (clean === null) return;
        expect([...clean].length).toBeLessThanOrEqual(maxChars);
        expect(clean).not.toMatch(/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/u);
        expect(clean.isWellFormed()).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});
