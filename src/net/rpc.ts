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
  result: z.unknown().optional(),
  error: z.looseObject({ code: z.number().optional() }).optional(),
});

export type RpcRequest = (call: { method: string; params?: unknown }) => Promise<unknown>;

/**
 * A JSON-RPC caller for the operator's node, bounded in time and size. Answers are as hostile as any: callers parse them.
 * @param url address of one chain's node
 */
export function createRpcRequest(url: string): RpcRequest {
  let nextId = 1;
  return async ({ method, params }) => {
    const answer = await exchange(
      url,
      JSON.stringify({ jsonrpc: '2.0', id: nextId++, method, params: params ?? [] }),
    ).catch(() => null);
    if (!answer) throw new RpcError('rpc_unreachable', method);
    if (answer.error) throw new RpcError('rpc_refused', method, answer.error.code);
    return answer.result;
  };
}

async function exchange(url: string, body: string): Promise<z.infer<typeof Answer> | null> {
  const response = await request(url, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  const raw = await readCapped(response.body, MAX_BYTES);
  if (raw === 'too_large') return null;
  const parsed = Answer.safeParse(JSON.parse(raw.toString('utf8')));
  return parsed.success ? parsed.data : null;
}
