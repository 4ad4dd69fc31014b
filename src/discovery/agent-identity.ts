import { findChain } from '../base/chains.ts';
import { findRegistries } from '../base/registries.ts';
import { readChainId, readTokenId } from './tolerant.ts';

/** One entry of one ERC-8004 identity registry. */
export interface AgentIdentity {
  readonly chainId: number;
  /** Address of the identity registry, lower case. */
  readonly registry: string;
  /** ERC-721 token id in decimal; `0` is a valid id. */
  readonly agentId: string;
}

/** The identity registry of a chain in lower case; undefined for chains without the reference deployment. */
export function findIdentityRegistry(chainId: number): string | undefined {
  return findRegistries(chainId)?.identity.toLowerCase();
}

/** The worker id: `<chainId>:<registry>:<agentId>`, the form of 8004scan's `agent_id`. */
export function formatAgentId(agent: AgentIdentity): string {
  return `${agent.chainId}:${agent.registry}:${agent.agentId}`;
}

/** The agent that a worker id names; null for workers that the operator named. */
export function parseWorkerId(workerId: string): AgentIdentity | null {
  const [chainId = '', registry = '', agentId, ...rest] = workerId.split(':');
  return rest.length > 0 ? null : parseAgentRegistration(`eip155:${chainId}:${registry}`, agentId);
}

/** A registry address in lower case, or null when it is not 20 bytes. */
export function readRegistry(value: unknown): string | null {
  return typeof value === 'string' && /^0x[0-9a-fA-F]{40}$/.test(value) ? value.toLowerCase() : null;
}

/** Reads an entry of a registration's `registrations` list: `eip155:<chain>:<registry>` and an id. */
export function parseAgentRegistration(agentRegistry: unknown, agentId: unknown): AgentIdentity | null {
  if (typeof agentRegistry !== 'string' || agentRegistry.length > 120) return null;
  const [namespace, chain, address, ...rest] = agentRegistry.trim().split(':');
  const chainId = readChainId(chain);
  const registry = readRegistry(address);
  const id = readTokenId(agentId);
  if (namespace !== 'eip155' || rest.length > 0 || chainId === null || registry === null || id === null) return null;
  return { chainId, registry, agentId: id };
}

/** True when both name the same token of the same registry. */
export function isSameAgent(a: AgentIdentity, b: AgentIdentity): boolean {
  return a.chainId === b.chainId && a.registry === b.registry && a.agentId === b.agentId;
}

/** The chain's common name, such as `base`, else its CAIP-2 name. */
export function nameChain(chainId: number): string {
  return findChain(chainId)?.name ?? `eip155:${chainId}`;
}
