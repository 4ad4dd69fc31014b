import { type Hex, parseEventLogs } from 'viem';
import { identityRegistryAbi } from '../base/abi.ts';
import { formatUsd } from '../base/money.ts';
import { LOCAL_CHAIN_ID } from './anvil.ts';
import type { LocalClient } from './chain.ts';
import { canonicalAddresses } from './contracts.ts';
import { LocalnetPartError } from './errors.ts';

export interface RegistrationFacts {
  readonly name: string;
  readonly gpu: string;
  readonly workerEndpoint: string;
  readonly priceAtomic: bigint;
  /** Undefined until the registration is on the chain. */
  readonly agentId: bigint | undefined;
  readonly bestValBpb: number | null;
  /** ISO 8601 UTC. */
  readonly updated: string;
}

/** A registration file as the field's workers publish it (erc8004.md section 3): metadata values are text. */
export function buildRegistration(facts: RegistrationFacts) {
  const agentRegistry = `eip155:${LOCAL_CHAIN_ID}:${canonicalAddresses.identity}`;
  return {
    type: 'https://eips.ethereum.org/EIPS/eip-8004#registration-v1',
    name: facts.name,
    // The index searches texts, not skills: a worker that does not write its skill here is not found by it.
    description: `Runs train.py experiments of autoresearch (devops_mlops/model_versioning) on ${facts.gpu}, $${formatUsd(facts.priceAtomic)} each over x402`,
    services: [
      { name: 'web', endpoint: facts.workerEndpoint, version: '1.0.0' },
      {
        name: 'OASF',
        version: '0.8',
        skills: ['devops_mlops/model_versioning'],
        domains: ['research_and_development/scientific_research'],
      },
    ],
    x402Support: true,
    active: true,
    registrations: facts.agentId === undefined ? [] : [{ agentId: Number(facts.agentId), agentRegistry }],
    supportedTrust: ['reputation'],
    metadata: {
      gpu: facts.gpu,
      ...(facts.bestValBpb === null ? {} : { best_val_bpb: facts.bestValBpb.toFixed(6) }),
      updated: facts.updated,
    },
  };
}

/**
 * Registers an agent on the local identity registry.
 * @param owner one of the node's accounts
 * @returns the new agent's id
 */
export async function registerOnChain(client: LocalClient, owner: Hex, uri: string): Promise<bigint> {
  const hash = await client.writeContract({
    address: canonicalAddresses.identity,
    abi: identityRegistryAbi,
    functionName: 'register',
    args: [uri],
    account: owner,
  });
  const receipt = await client.waitForTransactionReceipt({ hash });
  const [registered] = parseEventLogs({ abi: identityRegistryAbi, eventName: 'Registered', logs: receipt.logs });
  if (!registered) throw new LocalnetPartError('identity registry', 'did not register an agent');
  return registered.args.agentId;
}
