import { normalizeEndpoint } from '../base/endpoint.ts';
import { isBlockedAddress, isBlockedName } from '../net/address.ts';
import type { HttpClient } from '../net/http.ts';
import type { Registration } from './registration.ts';
import type { Service } from './registration-services.ts';

export type EndpointChoice =
  | { readonly ok: true; readonly endpoint: string }
  | { readonly ok: false; readonly reason: 'no_endpoint' | 'template_endpoint' };

/** Services whose addresses never are a worker: a schema repository, a name, an identifier, a mailbox. */
const NOT_A_WORKER: ReadonlySet<string> = new Set(['oasf', 'ens', 'did', 'email']);
/** A worker's address is shown as it is, so it may not be longer than what we show of a stranger's URL. */
const MAX_CHARS = 200;
/** Braces that somebody forgot to fill in, also percent-encoded. */
const TEMPLATE = /\{[^{}]*\}|%7B.*%7D/i;

/**
 * Picks the worker's endpoint among the services of a registration: a path with `/experiment`, then one with
 * `/services/`, then the `web` entry, then (only if it says that it takes x402) the first https address.
 * @returns the endpoint as `normalizeEndpoint` spells it, without `/experiment`
 */
export function chooseEndpoint(registration: Pick<Registration, 'services' | 'x402'>): EndpointChoice {
  const candidates = rankServices(registration);
  for (const { endpoint } of candidates) {
    if (endpoint === null || TEMPLATE.test(endpoint)) continue;
    const normalized = normalizeEndpoint(endpoint);
    if (normalized !== null && normalized.length <= MAX_CHARS) return { ok: true, endpoint: normalized };
  }
  const isTemplate = candidates.some(({ endpoint }) => endpoint !== null && TEMPLATE.test(endpoint));
  return { ok: false, reason: isTemplate ? 'template_endpoint' : 'no_endpoint' };
}

function rankServices({ services, x402 }: Pick<Registration, 'services' | 'x402'>): Service[] {
  const usable = services.filter((service) => service.endpoint !== null && !NOT_A_WORKER.has(service.name));
  const paths = (part: string) => usable.filter(({ endpoint }) => pathOf(endpoint).includes(part));
  return [
    ...paths('/experiment'),
    ...paths('/services/'),
    ...usable.filter(({ name }) => name === 'web'),
    ...(x402 === true ? usable.filter(({ endpoint }) => /^https:/i.test(endpoint ?? '')) : []),
  ];
}

function pathOf(endpoint: string | null): string {
  return endpoint !== null && URL.canParse(endpoint) ? new URL(endpoint).pathname : '';
}

/** Domains that stand in examples and never belong to a worker. */
const PLACEHOLDER_HOST = /(^|\.)example\.(com|org|net)$/i;

/**
 * Says why an endpoint must not be asked or paid; checked again at connect time, when the name is resolved.
 * @returns null when nothing speaks against it
 */
export function findEndpointProblem(
  endpoint: string,
  http: Pick<HttpClient, 'isAllowedHost' | 'findUrlProblem'>,
): 'blocked_address' | 'blocked_url' | 'placeholder_endpoint' | null {
  const url = new URL(endpoint);
  if (http.isAllowedHost(url)) return http.findUrlProblem(url);
  const isLiteral = /^[\d.]+$/.test(url.hostname) || url.hostname.startsWith('[');
  // Before the scheme: that an address is private says more than that it lacks TLS.
  if (isBlockedName(url.hostname) || (isLiteral && isBlockedAddress(url.hostname))) return 'blocked_address';
  if (PLACEHOLDER_HOST.test(url.hostname)) return 'placeholder_endpoint';
  return http.findUrlProblem(url);
}

/** True when the endpoint is one of the blocked addresses or lies below one of them, over http or https. */
export function isBlockedByOperator(endpoint: string, blocked: readonly string[]): boolean {
  return blocked.some((entry) => {
    const prefix = normalizeEndpoint(entry)?.replace(/^https?:/, '');
    const address = endpoint.replace(/^https?:/, '');
    return prefix !== undefined && (address === prefix || address.startsWith(`${prefix}/`));
  });
}
