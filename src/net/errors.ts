import { CoordinatorError } from '../base/errors.ts';

/** Why a request gave no usable answer. */
export type NetworkProblem =
  | 'blocked_url'
  | 'blocked_address'
  | 'redirect_blocked'
  | 'connect_failed'
  | 'connection_lost'
  | 'timeout'
  | 'cancelled'
  | 'too_large'
  | 'bad_encoding';

const WORDS: Record<NetworkProblem, string> = {
  blocked_url: 'its address is not one that may be asked (https on a public host is)',
  blocked_address: 'its name leads to a private or reserved address',
  redirect_blocked: 'it redirected to an address that may not be followed',
  connect_failed: 'no connection could be made',
  connection_lost: 'the connection broke before the answer was complete',
  timeout: 'it did not answer in time',
  cancelled: 'the request was cancelled',
  too_large: 'its answer is larger than allowed',
  bad_encoding: 'its answer is encoded in a way that cannot be read',
};

/** A request that failed below HTTP. */
export class NetworkError extends CoordinatorError {
  override readonly name = 'NetworkError';
  readonly code: string;
  readonly nextStep = 'Try again later or choose another host.';
  /**
   * @param problem what went wrong
   * @param host host that was asked, without path or credentials
   * @param isSent whether a byte of the request may have reached the host; false proves that nothing did
   */
  constructor(
    readonly problem: NetworkProblem,
    readonly host: string,
    readonly isSent: boolean,
  ) {
    super(`${JSON.stringify(host.slice(0, 120))} gave no usable answer: ${WORDS[problem]}.`);
    this.code = problem;
  }
}
