import { request } from 'undici';
import * as z from 'zod';
import { CoordinatorError } from '../base/errors.ts';
import { readCapped } from './body.ts';

/** A JSON-RPC node did not answer, or answered with an error. */
export class RpcError extends CoordinatorError {
  override readonly name = 'RpcError';
  readonly nextStep = 'Check ERPC_URL, or try again when the node answers.';
  /**
   * @param code `rpc_unreachable` without an answer, `rpc_refused` for an error that the node reports
   * @param rpcCode the node's own error code
   */
  constructor(
    readonly code: 'rpc_unreachable' | 'rpc_refused',
    readonly method: string,
    readonly rpcCode?: number,
  ) {
    super(
      code === 'rpc_unreachable'
        ? `The chain's JSON-RPC node gave no usable answer to ${method}.`
        : `The chain's JSON-RPC node refused ${method} with error ${rpcCode ?? 'unknown'}.`,
    );
  }
}

const DEADLINE_MS = 10_000;
const MAX_BYTES = 8 * 1024 * 1024;

const Answer = z.object({
  id: z.unknown(),
  result: z.unknown().optional(),
  error: z
    .looseObject({
      code: z.number().optional().catch(undefined),
      data: z
        .union([z.string(), z.looseObject({ data: z.string() }).transform(({ data }) => data)])
        .optional()
        .catch(undefined),
    })
    .optional(),
});

export interface RpcCall {
  readonly method: string;
  readonly params?: unknown;
}

/** One answer of a batch. */
export type RpcOutcome =
  | { readonly ok: true; readonly value: unknown }
  /** `data` is what a contract reverted with, where the node tells. */
  | { readonly ok: false; readonly rpcCode: number | undefined; readonly data: string | undefined };

interface RpcOptions {
  /** Ends the request before its own deadline of 10 s. */
  readonly signal?: AbortSignal | undefined;
}

export type RpcRequest = (call: { method: string; params?: unknown }, options?: RpcOptions) => Promise<unknown>;

/** One chain's JSON-RPC node. */
export interface RpcNode {
  /** @throws RpcError */
  readonly request: RpcRequest;
  /**
   * Sends several calls as one JSON-RPC batch; a single one as a plain request, since some nodes know no batches.
   * @returns an outcome per call, in the order of the calls
   * @throws RpcError when the batch as a whole was not answered
   */
  batch(calls: readonly RpcCall[], options?: RpcOptions): Promise<readonly RpcOutcome[]>;
}

/**
 * A JSON-RPC caller for the operator's node, bounded in time and size. Answers are as hostile as any: callers parse them.
 * @param url address of one chain's node
 */
export function createRpcRequest(url: string): RpcRequest {
  return createRpcNode(url).request;
}

/** The same, with batches. */
export function createRpcNode(url: string): RpcNode {
  let nextId = 1;
  const envelope = ({ method, params }: RpcCall) => ({ jsonrpc: '2.0', id: nextId++, method, params: params ?? [] });
  const send: RpcRequest = async (call, options) => {
    const answer = Answer.safeParse(await exchange(url, envelope(call), options?.signal)).data;
    if (!answer) throw new RpcError('rpc_unreachable', call.method);
    if (answer.error) throw new RpcError('rpc_refused', call.method, answer.error.code);
    return answer.result;
  };
  const batch: RpcNode['batch'] = async (calls, options) => {
    const [first] = calls;
    if (!first) return [];
    const envelopes = calls.map(envelope);
    const isSingle = calls.length === 1;
    const answer = await exchange(url, isSingle ? envelopes[0] : envelopes, options?.signal);
    // A node that refuses the whole batch answers with one error instead of a list.
    if (!isSingle && !Array.isArray(answer)) {
      const refusal = Answer.safeParse(answer).data?.error;
      throw new RpcError(refusal ? 'rpc_refused' : 'rpc_unreachable', first.method, refusal?.code);
    }
    const answers = new Map<unknown, RpcOutcome>();
    for (const item of Array.isArray(answer) ? answer : [answer]) {
      const parsed = Answer.safeParse(item).data;
      if (parsed) answers.set(parsed.id, toOutcome(parsed));
    }
    return envelopes.map(({ id }) => answers.get(id) ?? { ok: false, rpcCode: undefined, data: undefined });
  };
  return { request: send, batch };
}

function toOutcome({ result, error }: z.infer<typeof Answer>): RpcOutcome {
  return error ? { ok: false, rpcCode: error.code, data: error.data } : { ok: true, value: result };
}

/** @returns what the node answered, or null when that is no JSON, too large or too late */
async function exchange(url: string, body: unknown, signal: AbortSignal | undefined): Promise<unknown> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  try {
    const response = await request(url, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      signal: signal ? AbortSignal.any([deadline, signal]) : deadline,
    });
    const raw = await readCapped(response.body, MAX_BYTES);
    return raw === 'too_large' ? null : JSON.parse(raw.toString('utf8'));
  } catch {
    return null;
  }
}
