import { decodeAbiParameters, encodeEventTopics, type Hex } from 'viem';
import * as z from 'zod';
import { identityRegistryAbi } from '../base/abi.ts';
import { sha256 } from '../base/hash.ts';
import { RpcError, type RpcNode } from '../net/rpc.ts';
import { parseAgentUri } from './agent-uri.ts';
import type { BlockRange } from './chain-ranges.ts';
import { normalizeSkill, type SkillClaim } from './oasf.ts';
import type { HiddenReason } from './reasons.ts';
import { parseRegistration } from './registration.ts';
import type { RegistryPlace } from './registries.ts';

/** What a log says of where an agent's registration is, and what that claims where it can be read on the spot. */
export interface SeenAgent {
  /** Decimal; `0` is an id. */
  readonly agentId: string;
  readonly block: number;
  readonly logIndex: number;
  /** Tells whether the same log was read again. */
  readonly uriDigest: string;
  /** Null: the registration lies elsewhere and was not read. */
  readonly claims: readonly SkillClaim[] | null;
  /** Why it can be no worker; null when nothing speaks against it. */
  readonly reason: HiddenReason | null;
}

/** Agents of one request for logs; more than that is split, or cut where it cannot be. */
const MAX_LOGS = 20_000;
/** Skills of one agent, and characters of one, that are worth a row. */
const MAX_CLAIMS = 50;
const MAX_SKILL_CHARS = 200;

/** `0x` and 32 bytes. */
const WORD_CHARS = 66;

const isHex = (value: unknown): value is Hex => typeof value === 'string' && /^0x[0-9a-fA-F]*$/.test(value);
const Bytes = z.custom<Hex>(isHex);
const Quantity = z
  .string()
  .regex(/^0x[0-9a-fA-F]{1,13}$/)
  .transform(Number);
const RawLog = z.object({
  address: z.string(),
  topics: z.tuple([Bytes], Bytes),
  data: Bytes,
  blockNumber: Quantity,
  logIndex: Quantity,
  removed: z.literal(false).optional(),
});

const [REGISTERED] = encodeEventTopics({ abi: identityRegistryAbi, eventName: 'Registered' });
const [URI_UPDATED] = encodeEventTopics({ abi: identityRegistryAbi, eventName: 'URIUpdated' });

/**
 * Fetches who registered or moved its registration within some blocks. Logs that nobody asked for, or that cannot be
 * read, are left out.
 * @throws RpcError, also when the answer is too large to be taken
 */
export async function fetchSeenAgents(
  rpc: RpcNode,
  { address }: RegistryPlace,
  { from, to }: BlockRange,
  signal: AbortSignal,
): Promise<readonly SeenAgent[]> {
  const filter = { address, topics: [[REGISTERED, URI_UPDATED]], fromBlock: toQuantity(from), toBlock: toQuantity(to) };
  const answer = await rpc.request({ method: 'eth_getLogs', params: [filter] }, { signal });
  const isTooMany = Array.isArray(answer) && answer.length > MAX_LOGS && from < to;
  if (!Array.isArray(answer) || isTooMany) throw new RpcError('rpc_unreachable', 'eth_getLogs');
  return answer.slice(0, MAX_LOGS).flatMap((item: unknown) => {
    const log = RawLog.safeParse(item).data;
    const isAsked = log?.address.toLowerCase() === address && log.blockNumber >= from && log.blockNumber <= to;
    const seen = log && isAsked ? readLog(log) : null;
    return seen ? [seen] : [];
  });
}

/** Both events have one form: the indexed id, an indexed account, and the URI alone as data. */
function readLog({ topics, data, blockNumber, logIndex }: z.infer<typeof RawLog>): SeenAgent | null {
  const [name, agentId, account, ...rest] = topics;
  const isKnown = name === REGISTERED || name === URI_UPDATED;
  if (!isKnown || agentId?.length !== WORD_CHARS || account?.length !== WORD_CHARS || rest.length > 0) return null;
  const uri = decodeUri(data);
  if (uri === null) return null;
  const place = { agentId: BigInt(agentId).toString(), block: blockNumber, logIndex };
  return { ...place, uriDigest: sha256(uri), ...readClaims(uri) };
}

/** Decoded directly: going through the ABI by name hashes every event of it for every log. */
function decodeUri(data: Hex): string | null {
  try {
    return decodeAbiParameters([{ type: 'string' }], data)[0];
  } catch {
    // Whatever calls itself by one of the two names and does not have its form is no agent.
    return null;
  }
}

/** Reads what an agentURI tells without asking anybody. */
export function readClaims(uri: string): Pick<SeenAgent, 'claims' | 'reason'> {
  const parsed = parseAgentUri(uri);
  switch (parsed.kind) {
    case 'unusable':
      return { claims: [], reason: parsed.reason };
    case 'inline': {
      const result = parsed.result.ok ? parseRegistration(parsed.result.value) : parsed.result;
      return result.ok
        ? { claims: capClaims(result.registration.skills), reason: null }
        : { claims: [], reason: result.reason };
    }
    case 'web':
    case 'ipfs':
      return { claims: null, reason: null };
    default:
      return parsed satisfies never;
  }
}

/** What of a registration's skills is worth keeping. */
export function capClaims(claims: readonly SkillClaim[]): readonly SkillClaim[] {
  return claims.slice(0, MAX_CLAIMS).map(({ name, id, version }) => ({
    name: name === null ? null : normalizeSkill(name).slice(0, MAX_SKILL_CHARS),
    id,
    version: version?.slice(0, MAX_SKILL_CHARS) ?? null,
  }));
}

export function toQuantity(block: number): Hex {
  return `0x${block.toString(16)}`;
}
