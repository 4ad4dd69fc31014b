import { type JsonResult, parseJson } from './tolerant.ts';

/** Largest inline document, bytes after decoding (8004scan.md section 8). */
const MAX_BYTES = 262_144;
/** Three percent-encoded characters per byte is the longest spelling. */
const MAX_CHARS = MAX_BYTES * 3;

export type InlineResult = JsonResult | { readonly ok: false; readonly reason: 'too_large' };

/**
 * Reads the JSON of a `data:` URI in every form met in registries: base64 with any parameters, base64url letters,
 * missing padding or white space, percent-encoded or raw JSON, and "base64" that is plain JSON.
 */
export function readDataUri(uri: string): InlineResult {
  const parts = splitDataUri(uri);
  if (typeof parts === 'string') return { ok: false, reason: parts };
  const { isBase64, payload } = parts;
  if (!isBase64 || /^\s*(\{|%7B)/i.test(payload)) return readInlineJson(payload);
  const bytes = decodeBase64(payload);
  return bytes === null ? { ok: false, reason: 'bad_body' } : capped(bytes);
}

/** The very bytes behind a `data:` URI, for what is compared by its hash; null when there are none or too many. */
export function decodeDataUri(uri: string): Buffer | null {
  const parts = splitDataUri(uri);
  if (typeof parts === 'string') return null;
  const bytes = parts.isBase64 ? decodeBase64(parts.payload) : decodePercent(parts.payload);
  return bytes === null || bytes.length > MAX_BYTES ? null : bytes;
}

function splitDataUri(uri: string): { isBase64: boolean; payload: string } | 'bad_body' | 'too_large' {
  const comma = uri.indexOf(',');
  if (comma < 0) return 'bad_body';
  const isBase64 = /;\s*base64\s*$/i.test(uri.slice('data:'.length, Math.min(comma, 1_000)));
  const payload = uri.slice(comma + 1);
  return payload.length > MAX_CHARS ? 'too_large' : { isBase64, payload };
}

/** Reads JSON that stands in the URI itself, raw or percent-encoded. */
export function readInlineJson(text: string): InlineResult {
  if (text.length > MAX_CHARS) return { ok: false, reason: 'too_large' };
  const raw = text.trimStart();
  if (raw.startsWith('{')) {
    const result = capped(Buffer.from(raw));
    if (result.ok) return result;
  }
  return capped(decodePercent(text));
}

function capped(bytes: Uint8Array): InlineResult {
  return bytes.length > MAX_BYTES ? { ok: false, reason: 'too_large' } : parseJson(bytes);
}

function decodeBase64(payload: string): Buffer | null {
  const letters = decodePercent(payload)
    .toString('latin1')
    .replace(/\s+/g, '')
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={1,2}$/, '');
  // Buffer skips what is no base64 letter; a document that needs that is damaged. One letter alone is no byte.
  if (!/^[A-Za-z0-9+/]*$/.test(letters) || letters.length % 4 === 1) return null;
  return Buffer.from(letters, 'base64');
}

/** To bytes, not to text: only then does the strict UTF-8 check see what was really sent. */
function decodePercent(text: string): Buffer {
  if (!text.includes('%')) return Buffer.from(text);
  const parts = text.split(/((?:%[0-9a-fA-F]{2})+)/);
  return Buffer.concat(
    parts.map((part, index) => (index % 2 === 0 ? Buffer.from(part) : Buffer.from(part.replaceAll('%', ''), 'hex'))),
  );
}
