import { CoordinatorError } from '../base/errors.ts';
import { cleanUntrusted, UNTRUSTED_CAPS } from '../base/untrusted.ts';
import type { HttpAnswer } from '../net/http.ts';
import { readResetTimeMs, readRetryAfterMs } from './rate-limit.ts';
import { isRecord, parseJson, readField } from './tolerant.ts';

/** Why the index gave no list or no detail (8004scan.md section 5). */
export type IndexErrorCode =
  | 'bad_request'
  | 'invalid_parameter'
  | 'forbidden'
  | 'not_found'
  | 'rate_limited'
  | 'internal_error'
  | 'unavailable'
  | 'starting'
  | 'unexpected_status'
  | 'success_false'
  | 'unexpected_shape'
  | 'bad_body'
  | 'bad_encoding'
  | 'too_large'
  | 'redirect_blocked'
  | 'blocked_url'
  | 'blocked_address'
  | 'unreachable'
  | 'timeout'
  | 'cancelled';

const WORDS: Record<IndexErrorCode, string> = {
  bad_request: 'refused our request as malformed',
  invalid_parameter: 'refused a parameter of our request',
  forbidden: 'refused us',
  not_found: 'does not know what we asked for',
  rate_limited: 'allows no more requests for now',
  internal_error: 'failed internally',
  unavailable: 'is not available',
  starting: 'is still starting',
  unexpected_status: 'answered with an unexpected status',
  success_false: 'answered that the request failed',
  unexpected_shape: 'answered with JSON of an unknown shape',
  bad_body: 'answered with something that is no JSON',
  bad_encoding: 'answered in an encoding that cannot be read',
  too_large: 'sent more than may be read',
  redirect_blocked: 'redirected to a host that may not be followed',
  blocked_url: 'has an address that may not be asked',
  blocked_address: 'has a private or reserved address',
  unreachable: 'could not be reached',
  timeout: 'did not answer in time',
  cancelled: 'was not waited for',
};

/** The index did not deliver. Never to be read as "there are no workers". */
export class IndexError extends CoordinatorError {
  override readonly name = 'IndexError';
  readonly nextStep: string;
  declare readonly evidence?: string;
  constructor(
    readonly code: IndexErrorCode,
    readonly host: string,
    /** HTTP status and how long the index asks us to wait (milliseconds), where known; its message, cleaned. */
    readonly details: { readonly status?: number; readonly retryAfterMs?: number; readonly evidence?: string } = {},
  ) {
    const status = details.status === undefined ? '' : ` (HTTP ${details.status})`;
    super(`The index at ${JSON.stringify(host.slice(0, 120))} ${WORDS[code]}${status}.`);
    if (details.evidence !== undefined) this.evidence = details.evidence;
    this.nextStep =
      code === 'blocked_url' || code === 'blocked_address'
        ? 'Set SCAN_API_URL to an https address, or add its host to AUTORESEARCH_ALLOW_HTTP_HOSTS.'
        : 'Try again later, or name workers in AUTORESEARCH_WORKERS.';
  }

  /** Whether asking the same again soon may help. */
  get isTransient(): boolean {
    return ['internal_error', 'unavailable', 'starting', 'unreachable'].includes(this.code);
  }
}

/** The error that an answer stands for; null for a 200 that has to be read. */
export function findStatusError(answer: HttpAnswer, nowMs: number): IndexError | null {
  if (answer.status === 200) return null;
  const json = parseJson(answer.body);
  const body = json.ok && isRecord(json.value) ? json.value : {};
  const retryAfterMs = readRetryAfterMs(answer.headers, nowMs) ?? readResetTimeMs(findResetAt(body), nowMs);
  const evidence = describeBody(body);
  return new IndexError(codeOfStatus(answer.status, body.status === 'starting'), answer.url.host, {
    status: answer.status,
    ...(retryAfterMs === null ? {} : { retryAfterMs }),
    ...(evidence === null ? {} : { evidence }),
  });
}

/** When the limit is lifted, as the body of a refusal has it. */
function findResetAt(body: Readonly<Record<string, unknown>>): unknown {
  const error = readField(body, 'error');
  const details = isRecord(error) ? readField(error, 'details') : undefined;
  return isRecord(details) ? readField(details, 'resetAt', 'reset_at') : undefined;
}

/** The index's own message and, for a refused parameter, its place. */
function describeBody(body: Readonly<Record<string, unknown>>): string | null {
  const error = readField(body, 'error');
  const detail = readField(body, 'detail');
  const first = Array.isArray(detail) ? detail[0] : undefined;
  const place = isRecord(first) && Array.isArray(first.loc) ? first.loc.slice(0, 5).map(String).join('.') : '';
  const message = isRecord(error) ? error.message : isRecord(first) ? first.msg : (detail ?? error);
  const text = typeof message === 'string' ? `${place}${place === '' ? '' : ': '}${message}` : null;
  return cleanUntrusted(text, UNTRUSTED_CAPS.message);
}

function codeOfStatus(status: number, isStarting: boolean): IndexErrorCode {
  if (isStarting) return 'starting';
  switch (status) {
    case 400:
      return 'bad_request';
    case 401:
    case 403:
      return 'forbidden';
    case 404:
      return 'not_found';
    case 422:
      return 'invalid_parameter';
    case 429:
      return 'rate_limited';
    case 500:
      return 'internal_error';
    default:
      return status > 500 ? 'unavailable' : 'unexpected_status';
  }
}
