import { InputError } from './errors.ts';

/** Longer addresses are refused: no worker has one, and they end up in requests, keys and tables. */
const MAX_ENDPOINT_CHARS = 2_048;

/**
 * Brings a worker's address into its one spelling, the key under which the worker is known: scheme, lower-case host,
 * port unless default, path; without query, fragment, trailing slashes and a trailing `/experiment`, so that
 * `https://Rig7.example/experiment/` and `https://rig7.example` are the same worker (8004scan.md section 8).
 * @returns null for anything but an http(s) address without credentials
 */
export function normalizeEndpoint(text: string): string | null {
  const trimmed = text.trim();
  if (trimmed.length > MAX_ENDPOINT_CHARS || !URL.canParse(trimmed)) return null;
  const url = new URL(trimmed);
  const isWeb = url.protocol === 'https:' || url.protocol === 'http:';
  if (!isWeb || url.username !== '' || url.password !== '' || url.hostname === '') return null;
  return `${url.origin}${dropSuffixes(url.pathname)}`;
}

/**
 * The address that experiments are posted to: the worker's endpoint and `/experiment`, once.
 * @throws InputError `bad_endpoint` when the text is no http(s) address
 */
export function buildExperimentUrl(endpoint: string): string {
  return buildWorkerUrl(endpoint, 'experiment');
}

/**
 * An address of the worker's HTTP API below its endpoint, such as `…/health`.
 * @param path without a leading slash
 * @throws InputError `bad_endpoint` when the endpoint is no http(s) address
 */
export function buildWorkerUrl(endpoint: string, path: string): string {
  const base = normalizeEndpoint(endpoint);
  if (base === null) {
    throw new InputError(
      'bad_endpoint',
      `${JSON.stringify(endpoint.slice(0, 200))} is not the address of a worker.`,
      'Give a full address such as https://host/services/autoresearch-worker.',
    );
  }
  return `${base}/${path}`;
}

/** Trailing slashes and `/experiment`, however often they repeat: normalising twice changes nothing. */
function dropSuffixes(path: string): string {
  const suffix = '/experiment';
  let end = path.length;
  for (;;) {
    if (path[end - 1] === '/') end -= 1;
    else if (path.endsWith(suffix, end)) end -= suffix.length;
    else return path.slice(0, end);
  }
}
