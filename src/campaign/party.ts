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

/** The host of a public worker, whatever its port; by number, behind one address many may live. */
function siteOf(endpoint: string): string {
  if (!URL.canParse(endpoint)) return endpoint;
  const { hostname, host } = new URL(endpoint);
  return isIP(hostname.replace(/^\[|\]$/g, '')) === 0 && hostname !== 'localhost' ? hostname : host;
}
