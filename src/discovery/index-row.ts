import { cleanUntrusted, UNTRUSTED_CAPS } from '../base/untrusted.ts';
import { type AgentIdentity, findIdentityRegistry, readRegistry } from './agent-identity.ts';
import {
  isRecord,
  type JsonRecord,
  parseJson,
  readAddress,
  readAmount,
  readChainId,
  readField,
  readFlag,
  readText,
  readTime,
  readTokenId,
} from './tolerant.ts';

/** What the index says of one agent. It may be months old: only the agent's own file is the truth. */
export interface IndexRow {
  readonly agent: AgentIdentity;
  readonly nameUntrusted: string | null;
  readonly descriptionUntrusted: string | null;
  /** Null: the index does not say, which is not the same as inactive. */
  readonly active: boolean | null;
  readonly x402: boolean | null;
  readonly owner: `0x${string}` | null;
  readonly agentWallet: `0x${string}` | null;
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  /** When the index last read the agent's file, ISO 8601. */
  readonly indexedAt: string | null;
  /** Display only. */
  readonly feedbackCount: number | null;
  /** Display only; the index writes 0 for "nothing to average", so 0 is null. */
  readonly averageScore: number | null;
  /** The agentURI as the index knows it. */
  readonly uri: string | null;
  /** Last resort: an address that may or may not answer with a registration. */
  readonly agentUrl: string | null;
  /** The registration document as the index read it; undefined when the row carries none. */
  readonly content: unknown;
  /** Looks like a placeholder: asked about last. */
  readonly isNoise: boolean;
}

export type IndexRowResult =
  | { readonly ok: true; readonly row: IndexRow }
  | { readonly ok: false; readonly reason: 'bad_row' };

/** Reads one row of a list, or the object of a detail answer (8004scan.md section 8). It never throws. */
export function parseIndexRow(value: unknown): IndexRowResult {
  if (!isRecord(value)) return { ok: false, reason: 'bad_row' };
  const agent = parseIdentity(value);
  if (!agent) return { ok: false, reason: 'bad_row' };
  const metadata = readRecord(readField(value, 'raw_metadata', 'rawMetadata'));
  const parseStatus = readRecord(readField(value, 'parse_status'));
  const row = {
    agent,
    nameUntrusted: cleanUntrusted(readField(value, 'name'), UNTRUSTED_CAPS.name),
    descriptionUntrusted: cleanUntrusted(readField(value, 'description'), UNTRUSTED_CAPS.description),
    active: readFlag(readField(value, 'is_active', 'active')),
    x402: readFlag(readField(value, 'x402_supported', 'x402Supported')),
    owner: readAddress(readField(value, 'owner_address', 'ownerAddress', 'owner')),
    agentWallet: readAddress(readField(value, 'agent_wallet', 'agentWallet')) ?? readOnchainWallet(metadata),
    createdAt: readTime(readField(value, 'created_at', 'registeredAt')),
    updatedAt: readTime(readField(value, 'updated_at', 'updatedAt')),
    indexedAt: readTime(readField(parseStatus, 'last_parsed_at')),
    feedbackCount: readAmount(readField(value, 'total_feedbacks', 'feedbackCount')),
    averageScore: readAmount(readField(value, 'average_score', 'averageValue')) || null,
    uri:
      readText(readField(metadata, 'offchain_uri')) ??
      readText(readField(value, 'uri', 'tokenURI', 'token_uri', 'agentURI', 'agent_uri')),
    agentUrl: readText(readField(value, 'agent_url')),
    content: readContent(readField(metadata, 'offchain_content')),
  };
  return { ok: true, row: { ...row, isNoise: isNoise(row, readFlag(readField(value, 'is_registered'))) } };
}

function readRecord(value: unknown): JsonRecord {
  return isRecord(value) ? value : {};
}

/** The fields and the segments of `agent_id` name the same token, or the row is damaged. */
function parseIdentity(row: JsonRecord): AgentIdentity | null {
  const segments = splitAgentId(row);
  const chainId = agree([readField(row, 'chain_id'), readField(row, 'chainId'), segments[0]], readChainId);
  const agentId = agree([readField(row, 'token_id'), readField(row, 'tokenId'), segments[2]], readTokenId);
  if (chainId === null || agentId === null || chainId === undefined || agentId === undefined) return null;
  const registries = [readField(row, 'contract_address'), readField(row, 'registry_address'), segments[1]];
  const registry = agree(registries, readRegistry);
  if (registry === null) return null;
  const known = registry ?? findIdentityRegistry(chainId);
  return known === undefined ? null : { chainId, registry: known, agentId };
}

/** `chain:registry:token`, with or without `eip155:` before it; never the UUID in `id`. */
function splitAgentId(row: JsonRecord): readonly (string | undefined)[] {
  const text = readText(readField(row, 'agent_id', 'agentId'))?.slice(0, 200);
  const segments = text?.replace(/^eip155:/, '').split(':') ?? [];
  return segments.length === 3 ? segments : [];
}

/**
 * Reads the spellings of one value that are present.
 * @returns undefined when none is, null when one cannot be read or two disagree
 */
function agree<T>(values: readonly unknown[], read: (value: unknown) => T | null): T | null | undefined {
  const present = values.filter((value) => value !== undefined).map(read);
  const [first] = present;
  return present.every((value) => value === first) ? first : null;
}

function readOnchainWallet(metadata: JsonRecord): `0x${string}` | null {
  const entries = readField(metadata, 'onchain');
  if (!Array.isArray(entries)) return null;
  const wallet = entries.slice(0, 100).find((entry) => isRecord(entry) && entry.key === 'agentWallet');
  return isRecord(wallet) ? (readAddress(wallet.decoded) ?? readAddress(wallet.value)) : null;
}

/** Some indexes hand the document over as JSON text; what does not parse stays text and is refused as a document. */
function readContent(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const json = parseJson(value);
  return json.ok ? json.value : value;
}

const PLACEHOLDER_NAME = /^agent\s*#?\d+$/i;
const SHORT_DESCRIPTION_CHARS = 20;

function isNoise(row: Omit<IndexRow, 'isNoise'>, isRegistered: boolean | null): boolean {
  if (isRegistered === false || row.active === false) return true;
  if (PLACEHOLDER_NAME.test(row.nameUntrusted ?? '')) return true;
  return (row.descriptionUntrusted ?? '').length < SHORT_DESCRIPTION_CHARS;
}
