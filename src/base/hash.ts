import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';

declare const sha256Brand: unique symbol;

/** `sha256:` followed by 64 lower-case hex digits. */
export type Sha256 = string & { readonly [sha256Brand]: true };

const SHA256_TEXT = /^sha256:[0-9a-f]{64}$/;

/** True for `sha256:` + 64 lower-case hex digits. */
export function isSha256(text: string): text is Sha256 {
  return SHA256_TEXT.test(text);
}

function brand(text: string): Sha256 {
  if (!isSha256(text)) throw new TypeError('not a SHA-256 text');
  return text;
}

/** Hashes bytes, or a text in UTF-8, as they are: line ends are not normalised. */
export function sha256(data: string | Uint8Array): Sha256 {
  return brand(`sha256:${createHash('sha256').update(data).digest('hex')}`);
}

/** Serialises as RFC 8785 JSON (sorted keys, one spelling of each number). */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('value has no JSON form');
  return text;
}

/** The 64 hex digits of a hash with a `0x` prefix, as contracts and nonces want them. */
export function sha256ToBytes32(hash: Sha256): `0x${string}` {
  return `0x${hash.slice('sha256:'.length)}`;
}
