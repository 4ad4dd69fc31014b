import * as z from 'zod';
import type { NetworkError } from '../net/errors.ts';

/** Why an agent is not offered as a worker. The codes are part of the output contract. */
export const HiddenReason = z.enum([
  /** Its registration says `active: false`. */
  'inactive',
  /** Its file or its endpoint gave no answer: no connection, or an HTTP error. */
  'unreachable',
  /** Its host took longer than a fetch may take. */
  'timeout',
  'no_matching_skill',
  /** Registered on a chain that the caller did not ask for: the index ignored the filter. */
  'other_chain',
  /** Its address contains braces that nobody filled in. */
  'template_endpoint',
  /** Its address stands in an example domain. */
  'placeholder_endpoint',
  'no_endpoint',
  /** Its address or that of its file is private, reserved or resolves to such an address. */
  'blocked_address',
  /** Its address or that of its file is not https on a public host. */
  'blocked_url',
  'redirect_blocked',
  'no_uri',
  'unsupported_uri',
  'bad_registration',
  'bad_encoding',
  'bad_body',
  'too_large',
  'blocked_by_operator',
  /** The index listed it but does not know its details; that is no proof of absence. */
  'not_indexed',
  /** The registry itself says that there is no such token. */
  'not_registered',
  /** The index failed when it was asked for details. */
  'index_error',
  /** The index's rate limit left no room to ask for details. */
  'not_checked',
  /** We failed, not the agent; the log says how. */
  'internal_error',
  /** A row of the index that does not even say which agent it is. */
  'bad_row',
  /** It did not answer within the call; asking again may show it. */
  'pending',
]);
export type HiddenReason = z.infer<typeof HiddenReason>;

/** The reason that stands for a request that failed below HTTP. */
export function reasonOfNetworkError(error: NetworkError): HiddenReason {
  switch (error.problem) {
    case 'connect_failed':
    case 'connection_lost':
      return 'unreachable';
    case 'cancelled':
      return 'pending';
    case 'blocked_url':
    case 'blocked_address':
    case 'redirect_blocked':
    case 'timeout':
    case 'too_large':
    case 'bad_encoding':
      return error.problem;
    default:
      return error.problem satisfies never;
  }
}
