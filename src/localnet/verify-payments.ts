import { getAddress, parseEventLogs } from 'viem';
import { usdcAbi } from '../base/abi.ts';
import { createLocalClient } from './chain.ts';
import type { Localnet } from './localnet.ts';

/** A run as its record tells of it. */
export interface PaymentClaim {
  readonly experiment_id: string;
  readonly worker_endpoint: string;
  readonly price_atomic: string;
  readonly payment_tx: string | null;
}

export interface PaymentAudit {
  readonly isComplete: boolean;
  readonly count: number;
  readonly totalAtomic: bigint;
  /** What is wrong; empty when all is right. */
  readonly problem: string;
}

/**
 * Checks on the chain itself, independently of the coordinator's own reading, that every claimed payment moved the
 * claimed amount from the payer to that worker's address, each by a transaction of its own, and that nothing else left
 * the payer's account.
 */
export async function verifyPayments(network: Localnet, claims: readonly PaymentClaim[]): Promise<PaymentAudit> {
  const client = createLocalClient(network.rpcUrl);
  const seen = new Set<string>();
  let totalAtomic = 0n;
  const fail = (problem: string): PaymentAudit => ({ isComplete: false, count: seen.size, totalAtomic, problem });
  for (const { experiment_id, worker_endpoint, price_atomic, payment_tx } of claims) {
    const worker = network.workers.find((candidate) => candidate.workerEndpoint === worker_endpoint);
    if (!worker || payment_tx === null) return fail(`${experiment_id} names no payment.`);
    if (seen.has(payment_tx)) return fail(`${payment_tx} is claimed twice.`);
    seen.add(payment_tx);
    const { logs } = await client.getTransactionReceipt({ hash: `0x${payment_tx.slice(2)}` });
    const isPaid = parseEventLogs({ abi: usdcAbi, eventName: 'Transfer', logs }).some(
      ({ address, args }) =>
        getAddress(address) === getAddress(network.usdc) &&
        getAddress(args.from) === getAddress(network.payer) &&
        getAddress(args.to) === getAddress(worker.payTo) &&
        args.value === BigInt(price_atomic),
    );
    if (!isPaid) return fail(`${payment_tx} is no payment of ${experiment_id}.`);
    totalAtomic += BigInt(price_atomic);
  }
  const outgoing = await client.getLogs({
    address: network.usdc,
    event: TRANSFER,
    args: { from: network.payer },
    fromBlock: 0n,
    strict: true,
  });
  if (outgoing.length !== seen.size)
    return fail(`${outgoing.length} transfers left the payer, ${seen.size} are accounted for.`);
  return { isComplete: true, count: seen.size, totalAtomic, problem: '' };
}

const TRANSFER = {
  type: 'event',
  name: 'Transfer',
  inputs: [
    { name: 'from', type: 'address', indexed: true },
    { name: 'to', type: 'address', indexed: true },
    { name: 'value', type: 'uint256', indexed: false },
  ],
} as const;
