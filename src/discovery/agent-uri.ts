import { type InlineResult, readDataUri, readInlineJson } from './data-uri.ts';

/** What an agentURI says: where the registration is, or what it is. */
export type AgentUri =
  | { readonly kind: 'web'; readonly url: URL }
  /** `cid` alone or `cid/path`, each segment percent-encoded. */
  | { readonly kind: 'ipfs'; readonly path: string }
  | { readonly kind: 'inline'; readonly result: InlineResult }
  | { readonly kind: 'unusable'; readonly reason: 'no_uri' | 'unsupported_uri' };

const MAX_URL_CHARS = 4_096;
const BARE_CID = /^(Qm[1-9A-HJ-NP-Za-km-z]{44}|baf[a-z2-7]{20,120})(\/|$)/;
const CID = /^[A-Za-z0-9]{1,128}$/;

/** The gateways that are asked in this order when the operator names none (8004scan.md section 8). */
export const DEFAULT_IPFS_GATEWAYS: readonly string[] = [
  'https://gateway.pinata.cloud/ipfs',
  'https://ipfs.io/ipfs',
  'https://dweb.link/ipfs',
];

/** Reads an agentURI in all forms of 8004scan.md section 8; touches no network. */
export function parseAgentUri(text: string): AgentUri {
  const uri = text.trim();
  if (uri === '') return { kind: 'unusable', reason: 'no_uri' };
  if (uri.startsWith('{')) return { kind: 'inline', result: readInlineJson(uri) };
  if (/^data:/i.test(uri)) return { kind: 'inline', result: readDataUri(uri) };
  if (uri.length > MAX_URL_CHARS) return { kind: 'unusable', reason: 'unsupported_uri' };
  if (/^ipfs:\/\//i.test(uri)) return parseIpfsPath(uri.slice('ipfs://'.length).replace(/^ipfs\//, ''));
  if (BARE_CID.test(uri)) return parseIpfsPath(uri);
  if (/^https?:\/\//i.test(uri) && URL.canParse(uri)) return { kind: 'web', url: new URL(uri) };
  return { kind: 'unusable', reason: 'unsupported_uri' };
}

/** The address of an IPFS path at a gateway; the gateway may be written with or without its `/ipfs`. */
export function buildGatewayUrl(gateway: string, path: string): string {
  const base = gateway.replace(/\/{1,10}$/, '');
  return `${base}${base.endsWith('/ipfs') ? '' : '/ipfs'}/${path}`;
}

function parseIpfsPath(text: string): AgentUri {
  const [path = ''] = text.split(/[?#]/);
  const [cid = '', ...segments] = path.split('/');
  const isClean = CID.test(cid) && segments.every((segment) => segment !== '..' && segment !== '.');
  if (!isClean) return { kind: 'unusable', reason: 'unsupported_uri' };
  return { kind: 'ipfs', path: [cid, ...segments.map(encodeSegment)].join('/') };
}

/** Keeps what is already percent-encoded. */
function encodeSegment(segment: string): string {
  return encodeURIComponent(segment.toWellFormed()).replace(/%25([0-9a-fA-F]{2})/g, '%$1');
}
