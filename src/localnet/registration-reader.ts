import * as z from 'zod';
import { HttpClient } from '../net/http.ts';

/** A registration document as far as the index shows it; everything in it is optional in the field. */
export interface ReadDocument {
  /** Null when it cannot be read as a JSON object. */
  readonly content: Readonly<Record<string, unknown>> | null;
  readonly readAtMs: number;
}

const objectSchema = z.record(z.string(), z.unknown());

/** How old a document may be before a request reads it again; a broken address is not asked again as soon. */
const FRESH_MS = 1_000;
const BROKEN_FRESH_MS = 10_000;
const FETCH_DEADLINE_MS = 1_000;
/** Cap of the protocol for a registration (8004scan.md section 8). */
const MAX_BYTES = 524_288;

/** Reads the documents behind agentURIs, from this machine only, and keeps them for a moment. */
export class RegistrationReader {
  readonly #http = new HttpClient({
    allowHttpHosts: ['127.0.0.1', 'localhost'],
    userAgent: 'autoresearch-localnet-index',
  });
  readonly #documents = new Map<string, { expiresMs: number; document: Promise<ReadDocument> }>();

  read(uri: string): Promise<ReadDocument> {
    const kept = this.#documents.get(uri);
    const nowMs = Date.now();
    if (kept && kept.expiresMs > nowMs) return kept.document;
    const entry = { expiresMs: nowMs + FRESH_MS, document: this.#load(uri) };
    this.#documents.set(uri, entry);
    void entry.document.then(({ content }) => {
      if (content === null) entry.expiresMs = nowMs + BROKEN_FRESH_MS;
    });
    return entry.document;
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  async #load(uri: string): Promise<ReadDocument> {
    const text = uri.startsWith('data:') ? decodeDataUri(uri) : await this.#fetch(uri);
    return { content: text === null ? null : parseObject(text), readAtMs: Date.now() };
  }

  async #fetch(uri: string): Promise<string | null> {
    try {
      const answer = await this.#http.request({ url: uri, maxBytes: MAX_BYTES, deadlineMs: FETCH_DEADLINE_MS });
      return answer.status === 200 ? answer.body.toString('utf8') : null;
    } catch {
      return null;
    }
  }
}

function decodeDataUri(uri: string): string | null {
  const match = /^data:([^,]*),(.*)$/s.exec(uri);
  const [, type = '', data = ''] = match ?? [];
  if (!match) return null;
  if (/;base64$/i.test(type)) return Buffer.from(data, 'base64').toString('utf8');
  try {
    return decodeURIComponent(data);
  } catch {
    return data;
  }
}

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return objectSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
