import { NetworkError } from '../net/errors.ts';
import type { HttpClient } from '../net/http.ts';
import type { HostGate } from './host-gate.ts';
import { type HiddenReason, reasonOfNetworkError } from './reasons.ts';
import { parseJson } from './tolerant.ts';

export type WebJsonResult =
  /** `servedBy` is the address that answered, after redirects. */
  | { readonly ok: true; readonly value: unknown; readonly servedBy: URL }
  | { readonly ok: false; readonly reason: HiddenReason };

export interface WebJsonRequest {
  readonly url: URL;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly mayRedirect: (from: URL, to: URL) => boolean;
}

/** Largest registration document, bytes (8004scan.md section 8). */
const MAX_BYTES = 524_288;

/** Follows to other hosts, never from https down to http. */
export function isNoDowngrade(from: URL, to: URL): boolean {
  return to.protocol === 'https:' || from.protocol === to.protocol;
}

/** Follows within one host only. */
export function isSameHost(from: URL, to: URL): boolean {
  return isNoDowngrade(from, to) && from.host === to.host;
}

/** JSON, text or plain bytes, as hosts of files name them; an image or a page is none, whatever stands in it. */
function mayHoldJson(contentType: string | undefined): boolean {
  const type = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (type.includes('html')) return false;
  return type === '' || type.startsWith('text/') || /[/+]json$|\/octet-stream$/.test(type);
}

/** Fetches a stranger's JSON document; every failure is a reason, none an exception. */
export async function fetchWebJson(http: HttpClient, gate: HostGate, request: WebJsonRequest): Promise<WebJsonResult> {
  const { url, signal, mayRedirect } = request;
  return gate.run(url.host, http.isAllowedHost(url), signal, async () => {
    try {
      const answer = await http.request({
        url,
        maxBytes: MAX_BYTES,
        deadlineMs: request.timeoutMs,
        signal,
        mayRedirect,
      });
      if (answer.status !== 200) return { ok: false, reason: 'unreachable' };
      if (!mayHoldJson(answer.headers['content-type'])) return { ok: false, reason: 'bad_body' };
      const json = parseJson(answer.body);
      return json.ok ? { ok: true, value: json.value, servedBy: answer.url } : { ok: false, reason: json.reason };
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      return { ok: false, reason: reasonOfNetworkError(error) };
    }
  });
}
