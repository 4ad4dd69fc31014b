import type { AgentIdentity } from './agent-identity.ts';

/** Two families of the same service, with different names for the same parameters (8004scan.md section 1). */
export type IndexFamily = 'public' | 'internal';

export interface IndexBase {
  readonly family: IndexFamily;
  /** Without a trailing slash. */
  readonly url: string;
  readonly host: string;
  /** Whether it is the public service with its published limits. */
  readonly isPublicService: boolean;
  /** Where the service hands out IPFS documents by `cid`; null for an index of somebody else. */
  readonly ipfsUrl: string | null;
}

export interface ListQuery {
  /** Text to search for; null: none, since a search that fails must not hide the list. */
  readonly search: string | null;
  /** One OASF path that the index itself has to match; the internal family alone can. */
  readonly oasfSkill?: string;
  readonly chainId: number | null;
  /** 1 to 100. */
  readonly limit: number;
  /** From 1. */
  readonly page: number;
}

const PUBLIC_PATH = '/api/v1/public';
const INTERNAL_PATH = '/api/v1';
const SERVICE_DOMAIN = '8004scan.io';

/** Brings `SCAN_API_URL` into one form: any base is completed to the public family, `/api/v1` is the internal one. */
export function parseIndexBase(scanApiUrl: string): IndexBase {
  const url = new URL(scanApiUrl);
  let path = url.pathname;
  while (path.endsWith('/')) path = path.slice(0, -1);
  const isInternal = path.endsWith(INTERNAL_PATH);
  if (!isInternal && !path.endsWith(PUBLIC_PATH)) path += PUBLIC_PATH;
  const isPublicService = isWithin(url.hostname, SERVICE_DOMAIN);
  const internalPath = isInternal ? path : path.slice(0, -'/public'.length);
  return {
    family: isInternal ? 'internal' : 'public',
    url: `${url.origin}${path}`,
    host: url.host,
    isPublicService,
    ipfsUrl: isPublicService ? `${url.origin}${internalPath}/ipfs/fetch` : null,
  };
}

/**
 * The address of an IPFS path at the service; null when the index is not the service.
 * @param path `cid` or `cid/path`, each segment percent-encoded
 */
export function buildIpfsFetchUrl(base: IndexBase, path: string): URL | null {
  if (base.ipfsUrl === null) return null;
  const url = new URL(base.ipfsUrl);
  url.searchParams.set('cid', decodePath(path));
  return url;
}

/** A parameter is encoded once more; what is no text stays as it was spelled. */
function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** The address of a page of OASF agents; the family decides the parameters' names, both at once are never sent. */
export function buildListUrl(base: IndexBase, query: ListQuery): URL {
  const url = new URL(`${base.url}/agents`);
  const isPublic = base.family === 'public';
  if (query.oasfSkill === undefined) {
    url.searchParams.set(isPublic ? 'protocol' : 'supported_protocol', 'OASF');
  } else {
    url.searchParams.set('has_oasf', 'true');
    url.searchParams.set('oasf_skill', query.oasfSkill);
  }
  if (query.search !== null) url.searchParams.set('search', query.search);
  if (query.chainId !== null) url.searchParams.set(isPublic ? 'chainId' : 'chain_id', String(query.chainId));
  url.searchParams.set('limit', String(query.limit));
  if (query.page > 1) {
    if (isPublic) url.searchParams.set('page', String(query.page));
    else url.searchParams.set('offset', String((query.page - 1) * query.limit));
  }
  return url;
}

/** The address of one agent's details. */
export function buildDetailUrl(base: IndexBase, agent: AgentIdentity): URL {
  return new URL(`${base.url}/agents/${agent.chainId}/${agent.agentId}`);
}

/**
 * Whether a redirect of the index may be followed. The API key travels with it, so the target has to be https within
 * the service's own domain, or the very host that was configured.
 */
export function mayFollowIndex(base: IndexBase, from: URL, to: URL): boolean {
  if (to.protocol !== 'https:' && from.protocol !== to.protocol) return false;
  if (to.host === base.host) return true;
  const domain = base.isPublicService ? SERVICE_DOMAIN : base.host;
  return to.protocol === 'https:' && to.port === '' && isWithin(to.hostname, domain);
}

function isWithin(hostname: string, domain: string): boolean {
  return hostname === domain || hostname.endsWith(`.${domain}`);
}
