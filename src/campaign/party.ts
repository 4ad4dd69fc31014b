import { isIP } from 'node:net';

/** Who ran something, as far as independence is concerned. */
export interface Party {
  readonly endpoint: string;
  /** Where its payment went; null when nobody was paid. */
  readonly payTo: string | null;
  /** Owner of its registration; null or absent when nobody knows. */
  readonly owner?: string | null;
}

/**
 * Whether two workers may be taken for two parties: another host, another payout address, another owner
 * (field.md section 4, rule 4). What is not known of one of them tells nothing.
 */
export function isIndependent(a: Party, b: Party): boolean {
  if (siteOf(a.endpoint) === siteOf(b.endpoint)) return false;
  return !isSame(a.payTo, b.payTo) && !isSame(a.owner, b.owner);
}

function isSame(a: string | null | undefined, b: string | null | undefined): boolean {
  return a != null && b != null && a.toLowerCase() === b.toLowerCase();
}

/** Endpoint → its site: to read an address takes longer than all else that a decision does with it. */
const sites = new Map<string, string>();
const MAX_SITES = 10_000;

function siteOf(endpoint: string): string {
  const known = sites.get(endpoint);
  if (known !== undefined) return known;
  if (sites.size >= MAX_SITES) sites.clear();
  const site = readSite(endpoint);
  sites.set(endpoint, site);
  return site;
}

/** The host of a public worker, whatever its port; by number, behind one address many may live. */
function readSite(endpoint: string): string {
  if (!URL.canParse(endpoint)) return endpoint;
  const { hostname, host } = new URL(endpoint);
  return isIP(hostname.replace(/^\[|\]$/g, '')) === 0 && hostname !== 'localhost' ? hostname : host;
}
