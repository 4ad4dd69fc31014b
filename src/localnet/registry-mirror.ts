import { type Hex, type Log, parseEventLogs } from 'viem';
import { identityRegistryAbi, reputationRegistryAbi } from '../base/abi.ts';
import type { LocalClient } from './chain.ts';
import { canonicalAddresses } from './contracts.ts';

/** An agent as the chain has it now. */
export interface MirroredAgent {
  readonly agentId: bigint;
  readonly owner: Hex;
  readonly creator: Hex;
  readonly wallet: Hex;
  readonly uri: string;
  readonly createdAtMs: number;
  readonly createdBlock: bigint;
  readonly createdTx: Hex;
  readonly updatedAtMs: number;
}

export interface MirroredFeedback {
  readonly agentId: bigint;
  readonly client: Hex;
  readonly index: bigint;
  readonly value: bigint;
  readonly decimals: number;
  readonly tag1: string;
  readonly tag2: string;
  readonly endpoint: string;
  readonly uri: string;
  readonly hash: Hex;
  readonly block: bigint;
  readonly tx: Hex;
  readonly submittedAtMs: number;
  readonly isRevoked: boolean;
}

/** Follows the registries' logs: what 8004scan does for public chains. */
export class RegistryMirror {
  readonly #client: LocalClient;
  readonly #agents = new Map<bigint, MirroredAgent>();
  readonly #feedbacks = new Map<string, MirroredFeedback>();
  #nextBlock = 0n;
  #refresh: Promise<void> | null = null;

  constructor(client: LocalClient) {
    this.#client = client;
  }

  get agents(): readonly MirroredAgent[] {
    return [...this.#agents.values()];
  }
  get feedbacks(): readonly MirroredFeedback[] {
    return [...this.#feedbacks.values()];
  }

  /** Reads what is new on the chain; callers at the same time share one reading. */
  refresh(): Promise<void> {
    this.#refresh ??= this.#readNewLogs().finally(() => {
      this.#refresh = null;
    });
    return this.#refresh;
  }

  async #readNewLogs(): Promise<void> {
    const head = await this.#client.getBlockNumber();
    // A test has taken the chain back to a snapshot.
    if (head + 1n < this.#nextBlock) this.#forget();
    if (head < this.#nextBlock) return;
    const logs = await this.#client.getLogs({
      address: [canonicalAddresses.identity, canonicalAddresses.reputation],
      fromBlock: this.#nextBlock,
      toBlock: head,
    });
    await this.#readIdentity(logs);
    this.#readReputation(logs);
    this.#nextBlock = head + 1n;
  }

  #forget(): void {
    this.#agents.clear();
    this.#feedbacks.clear();
    this.#nextBlock = 0n;
  }

  async #readIdentity(logs: Log[]): Promise<void> {
    const touched = new Map<bigint, { first: Log; last: Log }>();
    for (const log of parseEventLogs({ abi: identityRegistryAbi, logs })) {
      const agentId = 'agentId' in log.args ? log.args.agentId : 'tokenId' in log.args ? log.args.tokenId : undefined;
      if (agentId !== undefined) touched.set(agentId, { first: touched.get(agentId)?.first ?? log, last: log });
    }
    const agents = await Promise.all([...touched].map(([id, { first, last }]) => this.#readAgent(id, first, last)));
    for (const agent of agents) this.#agents.set(agent.agentId, agent);
  }

  async #readAgent(agentId: bigint, first: Log, last: Log): Promise<MirroredAgent> {
    const registry = { address: canonicalAddresses.identity, abi: identityRegistryAbi } as const;
    const [owner, wallet, uri] = await Promise.all([
      this.#client.readContract({ ...registry, functionName: 'ownerOf', args: [agentId] }),
      this.#client.readContract({ ...registry, functionName: 'getAgentWallet', args: [agentId] }),
      this.#client.readContract({ ...registry, functionName: 'tokenURI', args: [agentId] }),
    ]);
    const known = this.#agents.get(agentId);
    return {
      agentId,
      owner,
      wallet,
      uri,
      creator: known?.creator ?? owner,
      createdAtMs: known?.createdAtMs ?? timeOf(first),
      createdBlock: known?.createdBlock ?? first.blockNumber ?? 0n,
      createdTx: known?.createdTx ?? first.transactionHash ?? '0x',
      updatedAtMs: timeOf(last),
    };
  }

  #readReputation(logs: Log[]): void {
    for (const log of parseEventLogs({ abi: reputationRegistryAbi, logs })) {
      if (log.eventName === 'NewFeedback') {
        const { agentId, clientAddress, feedbackIndex, valueDecimals, feedbackURI, feedbackHash, ...rest } = log.args;
        this.#feedbacks.set(`${agentId}:${clientAddress}:${feedbackIndex}`, {
          agentId,
          client: clientAddress,
          index: feedbackIndex,
          decimals: valueDecimals,
          value: rest.value,
          tag1: rest.tag1,
          tag2: rest.tag2,
          endpoint: rest.endpoint,
          uri: feedbackURI,
          hash: feedbackHash,
          isRevoked: false,
          block: log.blockNumber,
          tx: log.transactionHash,
          submittedAtMs: timeOf(log),
        });
      }
      if (log.eventName === 'FeedbackRevoked') {
        const key = `${log.args.agentId}:${log.args.clientAddress}:${log.args.feedbackIndex}`;
        const feedback = this.#feedbacks.get(key);
        if (feedback) this.#feedbacks.set(key, { ...feedback, isRevoked: true });
      }
    }
  }
}

function timeOf(log: Log): number {
  return Number(log.blockTimestamp ?? 0n) * 1_000;
}
