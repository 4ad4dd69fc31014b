import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';

/** Reads a body up to a cap; beyond it the stream is destroyed. */
export async function readCapped(
  stream: AsyncIterable<Uint8Array> & { destroy(): unknown },
  maxBytes: number,
): Promise<Buffer | 'too_large'> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of stream) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) {
      stream.destroy();
      return 'too_large';
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Undoes a content encoding that we did not ask for, within the same cap: a small bomb may hold gigabytes. */
export function decodeBody(
  raw: Buffer,
  encoding: string | undefined,
  maxBytes: number,
): Buffer | 'too_large' | 'bad_encoding' {
  const limits = { maxOutputLength: maxBytes };
  try {
    switch (encoding?.trim().toLowerCase()) {
      case undefined:
      case '':
      case 'identity':
        return raw;
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(raw, limits);
      case 'deflate':
        return inflateSync(raw, limits);
      case 'br':
        return brotliDecompressSync(raw, limits);
      default:
        return 'bad_encoding';
    }
  } catch (error) {
    return error instanceof RangeError ? 'too_large' : 'bad_encoding';
  }
}
