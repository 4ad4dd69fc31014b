import { type Hex, keccak256 } from 'viem';
import * as z from 'zod';
import { isShallow } from '../base/json.ts';
import { NetworkError } from '../net/errors.ts';
import type { HttpClient } from '../net/http.ts';
import { isTransactionHash } from '../net/transfers.ts';
import { type AgentIdentity, isSameAgent, parseAgentRegistration } from './agent-identity.ts';
import { buildGatewayUrl, DEFAULT_IPFS_GATEWAYS, parseAgentUri } from './agent-uri.ts';
import { decodeDataUri } from './data-uri.ts';
import type { HostGate } from './host-gate.ts';
import type { FeedbackPointer } from './reputation-logs.ts';
import { parseJson, readAddress, readChainId } from './tolerant.ts';
import { isNoDowngrade } from './web-json.ts';

/** A payment as a feedback file claims it: nothing of it is proven yet. */
export interface PaymentClaim {
  readonly chainId: number;
  readonly tx: Hex;
  readonly from: Hex;
  readonly to: Hex;
}

export interface FileSource {
  readonly http: HttpClient;
  readonly gate: HostGate;
  /** Empty: the public ones. */
  readonly ipfsGateways: readonly string[];
}

/** Ours has about a thousand bytes. */
const MAX_BYTES = 65_536;
const FETCH_TIMEOUT_MS = 5_000;

/**
 * Fetches the bytes of a feedback file, as they are: its hash is compared with the chain's.
 * @returns `unusable` for what can never be read, `unreachable` for what may be another time
 */
export async function fetchFeedbackFile(
  source: FileSource,
  uri: string,
  signal: AbortSignal,
): Promise<Uint8Array | 'unusable' | 'unreachable'> {
  const text = uri.trim();
  if (/^data:/i.test(text)) {
    const bytes = decodeDataUri(text);
    return bytes === null || bytes.length > MAX_BYTES ? 'unusable' : bytes;
  }
  const parsed = parseAgentUri(text);
  if (parsed.kind === 'web') return fetchBytes(source, parsed.url, signal);
  if (parsed.kind !== 'ipfs') return 'unusable';
  const gateways = source.ipfsGateways.length > 0 ? source.ipfsGateways : DEFAULT_IPFS_GATEWAYS;
  for (const gateway of gateways) {
    const bytes = await fetchBytes(source, new URL(buildGatewayUrl(gateway, parsed.path)), signal);
    if (typeof bytes !== 'string') return bytes;
  }
  return 'unreachable';
}

async function fetchBytes({ http, gate }: FileSource, url: URL, signal: AbortSignal) {
  return gate.run(url.host, http.isAllowedHost(url), signal, async () => {
    try {
      const limits = { maxBytes: MAX_BYTES, deadlineMs: FETCH_TIMEOUT_MS, signal, mayRedirect: isNoDowngrade };
      const answer = await http.request({ url, ...limits });
      return answer.status === 200 ? answer.body : 'unreachable';
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      return error.problem === 'too_large' || error.problem.startsWith('blocked') ? 'unusable' : 'unreachable';
    }
  });
}

const Whole = z.union([
  z.int().transform(BigInt),
  z
    .string()
    .regex(/^-?\d{1,39}$/)
    .transform(BigInt),
]);

/** The parts of a feedback file (erc8004.md section 7) that tie it to its row and to a payment. */
const File = z.looseObject({
  agentRegistry: z.string(),
  agentId: z.union([z.number(), z.string()]),
  clientAddress: z.string(),
  value: Whole,
  valueDecimals: z.int(),
  proofOfPayment: z.looseObject({
    fromAddress: z.string(),
    toAddress: z.string(),
    chainId: z.union([z.number(), z.string()]),
    txHash: z.string().refine(isTransactionHash),
  }),
});

/**
 * Reads what payment a file claims. A file that does not have the hash of its row, or is about another agent, client or
 * value, claims nothing: anybody can point to anybody's file.
 */
export function readPaymentClaim(
  bytes: Uint8Array,
  agent: AgentIdentity,
  pointer: FeedbackPointer,
): PaymentClaim | null {
  if (keccak256(bytes) !== pointer.hash.toLowerCase()) return null;
  const json = parseJson(bytes);
  const file = json.ok && isShallow(json.value) ? File.safeParse(json.value).data : undefined;
  if (!file) return null;
  const named = parseAgentRegistration(file.agentRegistry, file.agentId);
  const isOfRow =
    named !== null &&
    isSameAgent(named, agent) &&
    isSame(readAccount(file.clientAddress), pointer.client) &&
    file.value === pointer.value &&
    file.valueDecimals === pointer.decimals;
  const { proofOfPayment: proof } = file;
  const [from, to, chainId] = [
    readAccount(proof.fromAddress),
    readAccount(proof.toAddress),
    readChainId(readChainPart(proof.chainId)),
  ];
  if (!isOfRow || from === null || to === null || chainId === null || !isSame(from, pointer.client)) return null;
  return { chainId, tx: proof.txHash, from, to };
}

/** An address, alone or after `eip155:<chain>:`. */
function readAccount(text: string): Hex | null {
  return readAddress(/^(?:eip155:\d{1,20}:)?(0x[0-9a-fA-F]{40})$/.exec(text)?.[1]);
}

function readChainPart(value: number | string): number | string {
  return typeof value === 'string' ? value.replace(/^eip155:/, '') : value;
}

function isSame(a: string | null, b: string): boolean {
  return a?.toLowerCase() === b.toLowerCase();
}
