import ipaddr from 'ipaddr.js';

/** The only kind of address that a stranger's name may lead to; ipaddr.js names every reserved range otherwise. */
const PUBLIC_RANGE = 'unicast';

/**
 * Whether an IP address must not be reached on behalf of a stranger: loopback, private, link-local, carrier-grade NAT,
 * multicast, reserved and every IPv6 form that carries such an IPv4 address (8004scan.md section 12).
 * @param address an IPv4 or IPv6 literal; everything else counts as blocked
 */
export function isBlockedAddress(address: string): boolean {
  const bare = address.replace(/^\[|\]$/g, '');
  if (!ipaddr.isValid(bare)) return true;
  const parsed = ipaddr.process(bare);
  if (parsed instanceof ipaddr.IPv4) return parsed.range() !== PUBLIC_RANGE;
  const inner = embeddedIpv4(parsed);
  if (inner) return inner.range() !== PUBLIC_RANGE;
  return parsed.range() !== PUBLIC_RANGE || !isGlobalUnicast(parsed);
}

/** 2000::/3, all that is given out for public use: what lies outside is not listed as reserved in every case. */
function isGlobalUnicast(address: ipaddr.IPv6): boolean {
  return ((address.toByteArray()[0] ?? 0) & 0xe0) === 0x20;
}

/** The IPv4 address inside NAT64 (64:ff9b::/96) and 6to4 (2002::/16), which a gateway on the way would reach. */
function embeddedIpv4(address: ipaddr.IPv6): ipaddr.IPv4 | null {
  const bytes = address.toByteArray();
  const range = address.range();
  if (range === 'rfc6052') return new ipaddr.IPv4(bytes.slice(12, 16));
  if (range === '6to4') return new ipaddr.IPv4(bytes.slice(2, 6));
  return null;
}

const BLOCKED_NAMES = /(^|\.)(localhost|local|internal|localdomain|home\.arpa)\.?$/i;

/** Whether a host name is one that never belongs to a stranger's public server. */
export function isBlockedName(host: string): boolean {
  return BLOCKED_NAMES.test(host);
}
