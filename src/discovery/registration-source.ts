import type { Clock } from '../base/time.ts';
import type { HttpClient } from '../net/http.ts';
import { buildGatewayUrl, DEFAULT_IPFS_GATEWAYS, parseAgentUri } from './agent-uri.ts';
import type { HostGate } from './host-gate.ts';
import { Memo } from './memo.ts';
import type { HiddenReason } from './reasons.ts';
import { parseRegistration, type Registration } from './registration.ts';
import { isRecord } from './tolerant.ts';
import { fetchWebJson, isNoDowngrade } from './web-json.ts';

export type RegistrationAnswer =
  | {
      readonly ok: true;
      readonly registration: Registration;
      /** Who served the document; null for inline documents and IPFS gateways, which speak for nobody. */
      readonly servedBy: URL | null;
      /** When we read it, milliseconds since the Unix epoch. */
      readonly fetchedAtMs: number;
    }
  | { readonly ok: false; readonly reason: HiddenReason };

/** One stranger's file, redirects included (8004scan.md section 12). */
const FETCH_TIMEOUT_MS = 10_000;
/** Even when little time is left, a gateway gets one round trip's worth. */
const MIN_GATEWAY_MS = 200;
const FRESH_MS = 10 * 60_000;
const FRESH_NEGATIVE_MS = 60_000;

export interface RegistrationReaderDeps {
  readonly http: HttpClient;
  readonly gate: HostGate;
  readonly clock: Clock;
  /** Empty: the public ones. */
  readonly ipfsGateways: readonly string[];
  /**
   * The index's own copy of an IPFS document (8004scan.md section 8), asked when all gateways have failed.
   * @returns its address, or null when there is none or the index's rate limit leaves no room
   */
  readonly takeIndexIpfsUrl?: ((path: string) => URL | null) | undefined;
}

/** Reads registration documents from wherever an agentURI points. */
export class RegistrationReader {
  readonly #memo: Memo<RegistrationAnswer>;
  readonly #gateways: readonly string[];

  constructor(private readonly deps: RegistrationReaderDeps) {
    this.#memo = new Memo(deps.clock, lifetimeMs);
    this.#gateways = deps.ipfsGateways.length > 0 ? deps.ipfsGateways : DEFAULT_IPFS_GATEWAYS;
  }

  /**
   * Reads the document behind an agentURI; failures are reasons.
   * @param budgetMs what the caller can wait, milliseconds; gateways share it
   * @param notBeforeMs answers that were read before this time (Unix epoch) are not used again
   */
  async read(uri: string, budgetMs: number, signal: AbortSignal, notBeforeMs = 0): Promise<RegistrationAnswer> {
    const parsed = parseAgentUri(uri);
    switch (parsed.kind) {
      case 'unusable':
        return { ok: false, reason: parsed.reason };
      case 'inline':
        return parsed.result.ok ? this.#parse(parsed.result.value, null) : parsed.result;
      case 'web':
        return this.#memo.get(parsed.url.href, () => this.#fetch(parsed.url, FETCH_TIMEOUT_MS, signal), notBeforeMs);
      case 'ipfs':
        return this.#memo.get(`ipfs://${parsed.path}`, () => this.#fetchIpfs(parsed.path, budgetMs, signal));
      default:
        return parsed satisfies never;
    }
  }

  async #fetch(
    url: URL,
    timeoutMs: number,
    signal: AbortSignal,
    read = (value: unknown) => value,
  ): Promise<RegistrationAnswer> {
    const { http, gate } = this.deps;
    const answer = await fetchWebJson(http, gate, { url, timeoutMs, signal, mayRedirect: isNoDowngrade });
    return answer.ok ? this.#parse(read(answer.value), answer.servedBy) : answer;
  }

  /** In order; each gets an equal share of the time that is left, since a dead gateway must not use up the call. */
  async #fetchIpfs(path: string, budgetMs: number, signal: AbortSignal): Promise<RegistrationAnswer> {
    const places = this.#gateways.length + (this.deps.takeIndexIpfsUrl ? 1 : 0);
    const shareMs = Math.floor(budgetMs / places);
    const timeoutMs = Math.min(FETCH_TIMEOUT_MS, Math.max(MIN_GATEWAY_MS, shareMs));
    let last: RegistrationAnswer = { ok: false, reason: 'unreachable' };
    for (const gateway of this.#gateways) {
      if (signal.aborted) return { ok: false, reason: 'pending' };
      const answer = await this.#fetch(new URL(buildGatewayUrl(gateway, path)), timeoutMs, signal);
      if (answer.ok) return { ...answer, servedBy: null };
      last = answer;
    }
    const url = signal.aborted ? null : (this.deps.takeIndexIpfsUrl?.(path) ?? null);
    const answer = url && (await this.#fetch(url, timeoutMs, signal, unwrap));
    return answer?.ok ? { ...answer, servedBy: null } : last;
  }

  #parse(document: unknown, servedBy: URL | null): RegistrationAnswer {
    const result = parseRegistration(document);
    return result.ok ? { ...result, servedBy, fetchedAtMs: this.deps.clock.nowMs() } : result;
  }
}

/** An index may hand a document over in its envelope. */
function unwrap(value: unknown): unknown {
  return isRecord(value) && value.success === true && isRecord(value.data) ? value.data : value;
}

function lifetimeMs(answer: RegistrationAnswer): number {
  if (answer.ok) return FRESH_MS;
  return answer.reason === 'pending' ? 0 : FRESH_NEGATIVE_MS;
}
