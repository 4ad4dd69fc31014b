import type { Clock } from '../base/time.ts';
import type { HttpClient } from '../net/http.ts';
import { type AgentIdentity, isSameAgent, parseAgentRegistration } from './agent-identity.ts';
import type { HostGate } from './host-gate.ts';
import { Memo } from './memo.ts';
import type { HiddenReason } from './reasons.ts';
import type { Registration } from './registration.ts';
import { isRecord } from './tolerant.ts';
import { fetchWebJson, isSameHost } from './web-json.ts';

/** How well an endpoint is bound to the token that names it (erc8004.md section 4). */
export type BoundIdentity = 'verified' | 'file_only' | 'unbound';

/** What the `.well-known` file of an endpoint's host says about an agent. */
export type DomainCheck = 'match' | 'unreachable' | 'no_registrations' | 'mismatch';

const WELL_KNOWN = '/.well-known/agent-registration.json';
const TIMEOUT_MS = 10_000;
const FRESH_MS = 10 * 60_000;
const FRESH_NEGATIVE_MS = 60_000;
const MAX_ENTRIES = 200;

/** What binds an endpoint to an agent without asking its host anything more. */
export interface BindingEvidence {
  readonly agent: AgentIdentity;
  readonly registration: Pick<Registration, 'registrations'>;
  /** Who served the registration document; null when it speaks for no host (inline, IPFS, a copy of the index). */
  readonly servedBy: URL | null;
  readonly endpoint: string;
}

/**
 * True when the endpoint's own host serves the registration and that names the token. Serving alone proves nothing:
 * anybody can mint a token whose agentURI points at somebody else's file.
 */
export function isBoundByOwnFile({ agent, registration, servedBy, endpoint }: BindingEvidence): boolean {
  return servedBy?.origin === new URL(endpoint).origin && namesAgent(registration.registrations, agent);
}

/** Judges the binding once the domain check is known; without one (undefined) it counts as failed. */
export function decideIdentity(evidence: BindingEvidence, domain?: DomainCheck): BoundIdentity {
  if (isBoundByOwnFile(evidence) || domain === 'match') return 'verified';
  return namesAgent(evidence.registration.registrations, evidence.agent) ? 'file_only' : 'unbound';
}

function namesAgent(registrations: readonly AgentIdentity[], agent: AgentIdentity): boolean {
  return registrations.some((entry) => isSameAgent(entry, agent));
}

type DomainFile =
  | { readonly ok: true; readonly registrations: readonly AgentIdentity[]; readonly isEmpty: boolean }
  | { readonly ok: false; readonly reason: HiddenReason };

/** Reads the `.well-known` files of endpoints' hosts, each once for all agents that claim the host. */
export class DomainChecker {
  readonly #memo: Memo<DomainFile>;

  constructor(private readonly deps: { readonly http: HttpClient; readonly gate: HostGate; readonly clock: Clock }) {
    this.#memo = new Memo(deps.clock, (file) =>
      file.ok ? FRESH_MS : file.reason === 'pending' ? 0 : FRESH_NEGATIVE_MS,
    );
  }

  /** Whether the endpoint's host publishes the agent; a redirect to another host is no answer of this host. */
  async check(endpoint: string, agent: AgentIdentity, signal: AbortSignal, notBeforeMs = 0): Promise<DomainCheck> {
    const url = new URL(WELL_KNOWN, endpoint);
    const file = await this.#memo.get(url.href, () => this.#fetch(url, signal), notBeforeMs);
    if (!file.ok) return 'unreachable';
    if (file.isEmpty) return 'no_registrations';
    return namesAgent(file.registrations, agent) ? 'match' : 'mismatch';
  }

  async #fetch(url: URL, signal: AbortSignal): Promise<DomainFile> {
    const { http, gate } = this.deps;
    const answer = await fetchWebJson(http, gate, { url, timeoutMs: TIMEOUT_MS, signal, mayRedirect: isSameHost });
    if (!answer.ok) return answer;
    const list = isRecord(answer.value) ? answer.value.registrations : undefined;
    const entries = Array.isArray(list) ? list.slice(0, MAX_ENTRIES) : [];
    const registrations = entries.flatMap((entry) => {
      const agent = isRecord(entry) ? parseAgentRegistration(entry.agentRegistry, entry.agentId) : null;
      return agent ? [agent] : [];
    });
    return { ok: true, registrations, isEmpty: entries.length === 0 };
  }
}
