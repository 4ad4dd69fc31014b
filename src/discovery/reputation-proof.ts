import type { Hex } from 'viem';
import { findChain } from '../base/chains.ts';
import { RpcError, type RpcNode } from '../net/rpc.ts';
import { fetchTransfers } from '../net/transfers.ts';
import type { AgentIdentity } from './agent-identity.ts';
import { type FileSource, fetchFeedbackFile, readPaymentClaim } from './reputation-file.ts';
import type { FeedbackPointer } from './reputation-logs.ts';

/** What became of a row's proof: a payment that is on the chain, no such thing, or not known yet. */
export type Proof = { readonly kind: 'paid'; readonly payment: string } | { readonly kind: 'none' | 'unknown' };

export interface ProofDeps extends FileSource {
  readonly openRpc: (chainId: number) => Promise<RpcNode | null>;
}

const NONE: Proof = { kind: 'none' };
const UNKNOWN: Proof = { kind: 'unknown' };

/**
 * Checks the proof of payment behind one row on the chain: a transaction that succeeded and in which the pinned dollar
 * token itself says that the client paid somebody who stands for the agent (erc8004.md section 8). The registry checks
 * nothing of that.
 * @param payees lower case; who stands for the agent
 */
export async function checkProof(
  deps: ProofDeps,
  agent: AgentIdentity,
  pointer: FeedbackPointer,
  payees: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Proof> {
  const bytes = await fetchFeedbackFile(deps, pointer.uri, signal);
  if (typeof bytes === 'string') return bytes === 'unusable' ? NONE : UNKNOWN;
  const claim = readPaymentClaim(bytes, agent, pointer);
  const chain = claim && findChain(claim.chainId);
  if (!claim || !chain || !payees.has(claim.to.toLowerCase())) return NONE;
  const rpc = await deps.openRpc(chain.chainId);
  if (!rpc) return UNKNOWN;
  try {
    const transfers = await fetchTransfers(rpc.request, chain.asset.address, claim.tx, signal);
    // A node may lag behind the one that saw the payment.
    if (transfers === 'absent') return UNKNOWN;
    if (transfers === 'failed') return NONE;
    const isPaid = transfers.some(
      ({ from, to, value }) => isSame(from, pointer.client) && isSame(to, claim.to) && value > 0n,
    );
    return isPaid ? { kind: 'paid', payment: `${chain.chainId}:${claim.tx.toLowerCase()}` } : NONE;
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return UNKNOWN;
  }
}

function isSame(a: Hex, b: Hex): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
