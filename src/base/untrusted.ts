/**
 * Control, bidirectional, tag, private and line-separating characters, fillers, and whatever else a reader does not see
 * and a model reads: also a variation selector can carry a letter.
 */
const INVISIBLE = /[\p{C}\p{Default_Ignorable_Code_Point}\u2028\u2029\u2800]/gu;

/** Longest name, description, URL and message of a stranger that is shown, in characters. */
export const UNTRUSTED_CAPS = { name: 80, description: 300, url: 200, message: 500 } as const;

/**
 * Makes a stranger's text harmless to show: invisible characters become spaces, runs of white space one space, NFC,
 * at most `maxChars` characters. Not a licence to mix it into our own sentences.
 * @returns null when `value` is no string or nothing is left
 */
export function cleanUntrusted(value: unknown, maxChars: number): string | null {
  if (typeof value !== 'string') return null;
  // A hostile text may be megabytes long: what cannot be shown is not worth normalising.
  const bounded = value.slice(0, maxChars * 8);
  const clean = bounded.toWellFormed().normalize('NFC').replace(INVISIBLE, ' ').replace(/\s+/g, ' ').trim();
  const characters = [...clean];
  if (characters.length === 0) return null;
  return characters.length > maxChars ? `${characters.slice(0, maxChars - 1).join('')}…` : clean;
}
