import type { Hex } from 'viem';
import { isAddressEqual } from 'viem';
import { findRegistries } from '../base/registries.ts';
import { type AgentIdentity, nameChain, parseWorkerId } from '../discovery/agent-identity.ts';
import { findRegistryPlace } from '../discovery/registries.ts';
import { RegistryCalls, type TokenAnswer } from '../discovery/registry-calls.ts';
import type { Attempt } from '../payment/attempt.ts';
import type { JournaledIntent } from '../payment/intent.ts';
import { FeedbackError } from './feedback-errors.ts';
import type { Services } from './services.ts';
import { MAX_WORKERS } from './workers.ts';

/** The agent that did a paid run. */
export interface FoundAgent {
  readonly agent: AgentIdentity;
  readonly workerId: string;
  /** The identity registry, with its checksum. */
  readonly registry: Hex;
}

const DEADLINE_MS = 10_000;

/**
 * Finds the agent behind a worker that was paid. Anybody can register an agent that lists somebody else's endpoint, and
 * would reap its ratings: it has to be the one that the endpoint's own host names, or the one that was paid.
 * @throws FeedbackError when there is none, when it is our own, or when its registry cannot be read
 */
export async function findAgent(services: Services, attempt: Attempt, intent: JournaledIntent): Promise<FoundAgent> {
  const { workers } = await services.discovery.discover({ limit: MAX_WORKERS, includeUnreachable: true });
  const known = workers.find(({ workerEndpoint, identities }) =>
    attempt.workerId === null
      ? workerEndpoint === attempt.workerEndpoint
      : identities.some(({ workerId }) => workerId === attempt.workerId),
  );
  const workerId = attempt.workerId ?? known?.workerId ?? '';
  const agent = parseWorkerId(workerId);
  const registry = agent ? findRegistries(agent.chainId)?.identity : undefined;
  if (!agent || registry?.toLowerCase() !== agent.registry) {
    throw new FeedbackError(
      'no_identity',
      `The worker ${attempt.workerEndpoint} of this experiment is not known as an agent of an ERC-8004 registry of ours.`,
      'Only workers that discover_workers finds with an agent_id can be rated.',
    );
  }
  const token = await readToken(services, agent);
  const holders = token.kind === 'found' ? [token.owner, token.wallet ?? null] : [];
  const isHolder = (address: Hex) => holders.some((holder) => holder !== null && isAddressEqual(holder, address));
  const name = `agent ${agent.agentId} on ${nameChain(agent.chainId)}`;
  // The registry refuses the owner's word, and takes that of the holder of the wallet.
  if (isHolder(intent.payer))
    throw new FeedbackError('own_agent', `The ${name} is our own, so we do not rate it.`, 'Rate others.');
  const isVerified = known?.identities.some((entry) => entry.workerId === workerId && entry.identity === 'verified');
  if (token.kind === 'absent') {
    throw new FeedbackError('unknown_agent', `The registry does not know the ${name}.`, 'Nobody can rate it.');
  }
  if (!isVerified && !isHolder(intent.payTo)) {
    throw new FeedbackError(
      'identity_unproven',
      `Neither names the host of ${attempt.workerEndpoint} the ${name}, nor was that agent's owner or wallet paid, so the rating might go to a stranger.`,
      'Rate workers whose identity is verified, or whose payto_match is wallet or owner.',
    );
  }
  return { agent, workerId, registry };
}

async function readToken({ openRpc }: Services, agent: AgentIdentity): Promise<TokenAnswer> {
  const [place, rpc] = [findRegistryPlace(agent.chainId), await openRpc(agent.chainId)];
  if (!place || !rpc) throw noRpc(agent.chainId);
  let found: TokenAnswer = { kind: 'unknown' };
  const signal = AbortSignal.timeout(DEADLINE_MS);
  await new RegistryCalls(rpc, place).readTokens([agent.agentId], { withUri: false, signal }, (_id, answer) => {
    found = answer;
  });
  return found;
}

/** The chain of a worker's registry cannot be read. */
export function noRpc(chainId: number): FeedbackError {
  return new FeedbackError(
    'no_rpc',
    `There is no usable JSON-RPC for ${nameChain(chainId)}, the chain of the worker's registry.`,
    'Set ERPC_URL to a node that serves this chain.',
  );
}
