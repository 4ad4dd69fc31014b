import { getAddress, isAddress } from 'viem/utils';
import { isoTime } from '../base/time.ts';

/** A JSON object of a stranger: nothing is known of its values. */
export type JsonRecord = Readonly<Record<string, unknown>>;

const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** Largest ERC-721 token id: 2^256 - 1. */
const MAX_UINT256 = 2n ** 256n - 1n;

/** True for a JSON object; lists and null are none. */
export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The first of the named fields that the object itself holds and that is not null. */
export function readField(record: JsonRecord, ...names: readonly string[]): unknown {
  for (const name of names) {
    if (!Object.hasOwn(record, name)) continue;
    const value = record[name];
    if (value !== undefined && value !== null) return value;
  }
  return undefined;
}

/** The fields of an object, at most `max`, without the keys that could reach a prototype. */
export function listFields(record: JsonRecord, max: number): readonly (readonly [string, unknown])[] {
  return Object.keys(record)
    .filter((key) => !FORBIDDEN_KEYS.has(key))
    .slice(0, max)
    .map((key) => [key, record[key]] as const);
}

/** A text that is not blank, else null. */
export function readText(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null;
}

/** A boolean, also as the text `true` or `false`; null when unknown. */
export function readFlag(value: unknown): boolean | null {
  if (typeof value === 'boolean') return value;
  if (value === 'true') return true;
  return value === 'false' ? false : null;
}

/** A finite number that is not negative, else null. */
export function readAmount(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : null;
}

/**
 * A token id as canonical decimal text. Safe integers and digit texts are accepted; **0 is an id** (erc8004.md section
 * 2). Negative, fractional and unsafe numbers are null.
 */
export function readTokenId(value: unknown): string | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? BigInt(value).toString() : null;
  if (typeof value !== 'string' || !/^\d{1,78}$/.test(value)) return null;
  const id = BigInt(value);
  return id <= MAX_UINT256 ? id.toString() : null;
}

/** A positive chain id from a number or a digit text, else null. */
export function readChainId(value: unknown): number | null {
  const text = readTokenId(value);
  const chainId = text === null ? 0 : Number(text);
  return Number.isSafeInteger(chainId) && chainId > 0 ? chainId : null;
}

/** A 20-byte address with its checksum, whatever its case was; the zero address and everything else is null. */
export function readAddress(value: unknown): `0x${string}` | null {
  if (typeof value !== 'string' || !isAddress(value, { strict: false })) return null;
  return /^0x0{40}$/.test(value) ? null : getAddress(value.toLowerCase());
}

/** A time in ISO 8601 UTC, else null. */
export function readTime(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > 64) return null;
  const unixMs = Date.parse(value);
  return Number.isNaN(unixMs) ? null : isoTime(unixMs);
}

export type JsonResult =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly reason: 'bad_encoding' | 'bad_body' };

/** Reads JSON from bytes in strict UTF-8 (a byte order mark is allowed), or from text. */
export function parseJson(source: string | Uint8Array): JsonResult {
  let text: string;
  try {
    text = typeof source === 'string' ? source : new TextDecoder('utf-8', { fatal: true }).decode(source);
  } catch {
    return { ok: false, reason: 'bad_encoding' };
  }
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    return { ok: false, reason: 'bad_body' };
  }
}
