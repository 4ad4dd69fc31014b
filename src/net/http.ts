import { lookup as dnsLookup, type LookupAddress, type LookupAllOptions, type LookupOptions } from 'node:dns';
import { Agent, type Dispatcher, request } from 'undici';
import { isBlockedAddress, isBlockedName } from './address.ts';
import { decodeBody, readCapped } from './body.ts';
import { NetworkError, type NetworkProblem } from './errors.ts';

export interface HttpRequest {
  readonly url: string | URL;
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent with Content-Length, never chunked: some workers read a chunked body as empty. */
  readonly body?: string | Uint8Array;
  /** Largest body that is read, in bytes, counted before and after decompression. */
  readonly maxBytes: number;
  /** The whole exchange, redirects included, in milliseconds. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
  /** Decides whether a redirect may be followed; absent: none is. At most three are. */
  readonly mayRedirect?: (from: URL, to: URL) => boolean;
}

export interface HttpAnswer {
  readonly status: number;
  /** Lower-case names; of a repeated header the first value. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** The address that answered, after redirects. */
  readonly url: URL;
  readonly elapsedMs: number;
}

export interface HttpClientOptions {
  /** Hosts (`name` or `name:port`) for which http and private addresses are allowed. */
  readonly allowHttpHosts: readonly string[];
  readonly userAgent: string;
  /** Resolves the names of strangers; absent: the system's resolver. Its answers are not trusted. */
  readonly lookup?: Lookup;
}

/** A resolver with the signature of `dns.lookup` when all addresses are asked for. */
export type Lookup = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: Error | null, addresses: LookupAddress[]) => void,
) => void;

/** Gates put large extensions into headers; above this a probe fails (x402.md section 1.3). */
const MAX_HEADER_BYTES = 65_536;
const CONNECT_TIMEOUT_MS = 5_000;
const MAX_REDIRECTS = 3;

/**
 * The one client for every request to a stranger. It never reaches a private address, whatever a name resolves to at
 * connect time, follows no redirect on its own, and bounds time and size of everything.
 */
export class HttpClient {
  readonly #guarded: Agent;
  readonly #open: Agent;
  readonly #allowed: ReadonlySet<string>;
  readonly #userAgent: string;

  constructor(options: HttpClientOptions) {
    const shared = {
      // An experiment runs for minutes before its first byte: our own deadline bounds it instead.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAliveTimeout: 1_000,
    };
    this.#guarded = new Agent({
      ...shared,
      connect: { timeout: CONNECT_TIMEOUT_MS, lookup: guardLookup(options.lookup ?? dnsLookup) },
    });
    this.#open = new Agent({ ...shared, connect: { timeout: CONNECT_TIMEOUT_MS } });
    this.#allowed = new Set(options.allowHttpHosts.map((host) => host.toLowerCase()));
    this.#userAgent = options.userAgent;
  }

  /** Whether http and private addresses are allowed for this address by the operator. */
  isAllowedHost(url: URL): boolean {
    return this.#allowed.has(url.host.toLowerCase()) || this.#allowed.has(url.hostname.toLowerCase());
  }

  /**
   * Says why an address may not be asked, before anything is resolved.
   * @returns null when it may
   */
  findUrlProblem(url: URL): 'blocked_url' | 'blocked_address' | null {
    if (url.username !== '' || url.password !== '') return 'blocked_url';
    if (this.isAllowedHost(url)) return url.protocol === 'http:' || url.protocol === 'https:' ? null : 'blocked_url';
    if (url.protocol !== 'https:') return 'blocked_url';
    if (isBlockedName(url.hostname)) return 'blocked_address';
    // Node connects to an IP literal without calling `lookup`.
    const isLiteral = /^[\d.]+$/.test(url.hostname) || url.hostname.startsWith('[');
    return isLiteral && isBlockedAddress(url.hostname) ? 'blocked_address' : null;
  }

  /**
   * Sends one request and reads the whole answer, whatever its status.
   * @throws NetworkError when there is no complete answer
   */
  async request(options: HttpRequest): Promise<HttpAnswer> {
    const startedMs = performance.now();
    const deadline = AbortSignal.timeout(Math.max(1, Math.ceil(options.deadlineMs)));
    const signal = options.signal ? AbortSignal.any([deadline, options.signal]) : deadline;
    let url = parseUrl(options.url);
    for (let hops = 0; ; hops += 1) {
      const answer = await this.#exchange(url, options, signal, deadline);
      const target = findRedirect(answer.status, answer.headers, url);
      if (!target || !options.mayRedirect) return { ...answer, url, elapsedMs: performance.now() - startedMs };
      if (hops >= MAX_REDIRECTS || !options.mayRedirect(url, target)) {
        throw new NetworkError('redirect_blocked', url.host, true);
      }
      url = target;
    }
  }

  async #exchange(url: URL, options: HttpRequest, signal: AbortSignal, deadline: AbortSignal) {
    const problem = this.findUrlProblem(url);
    if (problem) throw new NetworkError(problem, url.host, false);
    if (signal.aborted) throw new NetworkError(deadline.aborted ? 'timeout' : 'cancelled', url.host, false);
    const progress = { isSent: false };
    try {
      const response = await request(url, {
        dispatcher: (this.isAllowedHost(url) ? this.#open : this.#guarded).compose(noteSent(progress)),
        method: options.method ?? 'GET',
        headers: {
          accept: 'application/json',
          'user-agent': this.#userAgent,
          'accept-encoding': 'identity',
          ...options.headers,
        },
        body: options.body ?? null,
        signal,
      });
      const headers = flattenHeaders(response.headers);
      const raw = await readCapped(response.body, options.maxBytes);
      if (raw === 'too_large') throw new NetworkError('too_large', url.host, true);
      const body = decodeBody(raw, headers['content-encoding'], options.maxBytes);
      if (typeof body === 'string') throw new NetworkError(body, url.host, true);
      return { status: response.statusCode, headers, body };
    } catch (error) {
      if (error instanceof NetworkError) throw error;
      throw new NetworkError(classify(error, signal, deadline, progress.isSent), url.host, progress.isSent);
    }
  }

  /** Closes idle connections and breaks those in use. */
  async close(): Promise<void> {
    await Promise.all([this.#guarded.destroy(), this.#open.destroy()]);
  }
}

/** Notes when the request is handed to a connection: only before that is it proven that the host saw nothing. */
function noteSent(progress: { isSent: boolean }): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => {
    const onRequestStart = handler.onRequestStart?.bind(handler);
    return dispatch(options, {
      ...bindHandler(handler),
      onRequestStart(controller, context) {
        progress.isSent = true;
        onRequestStart?.(controller, context);
      },
    });
  };
}

function bindHandler(handler: Dispatcher.DispatchHandler): Dispatcher.DispatchHandler {
  return {
    onRequestUpgrade: (...args) => handler.onRequestUpgrade?.(...args),
    onResponseStart: (...args) => handler.onResponseStart?.(...args),
    onResponseData: (...args) => handler.onResponseData?.(...args),
    onResponseEnd: (...args) => handler.onResponseEnd?.(...args),
    onResponseError: (...args) => handler.onResponseError?.(...args),
  };
}

function classify(error: unknown, signal: AbortSignal, deadline: AbortSignal, isSent: boolean): NetworkProblem {
  if (deadline.aborted) return 'timeout';
  if (signal.aborted) return 'cancelled';
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'EBLOCKED') return 'blocked_address';
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return 'too_large';
  return isSent ? 'connection_lost' : 'connect_failed';
}

function parseUrl(url: string | URL): URL {
  if (url instanceof URL) return url;
  if (!URL.canParse(url)) throw new NetworkError('blocked_url', url.slice(0, 80), false);
  return new URL(url);
}

function findRedirect(status: number, headers: Readonly<Record<string, string>>, base: URL): URL | null {
  const location = headers.location;
  if (![301, 302, 303, 307, 308].includes(status) || !location || !URL.canParse(location, base.href)) return null;
  return new URL(location, base);
}

function flattenHeaders(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined) flat[name.toLowerCase()] = first;
  }
  return flat;
}

class BlockedAddressError extends Error {
  readonly code = 'EBLOCKED';
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

/** Resolves a name and refuses it when any of its addresses is private; runs at connect time, so rebinding is seen. */
function guardLookup(resolve: Lookup) {
  return (hostname: string, options: LookupOptions, callback: LookupCallback): void =>
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, []);
      const first = addresses[0];
      if (!first || isBlockedName(hostname) || addresses.some(({ address }) => isBlockedAddress(address))) {
        return callback(new BlockedAddressError(`${hostname} is blocked`), []);
      }
      return options.all ? callback(null, addresses) : callback(null, first.address, first.family);
    });
}
