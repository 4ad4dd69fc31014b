import * as z from 'zod';
import { isoTime } from '../base/time.ts';
import { LOCAL_CHAIN_ID } from './anvil.ts';
import { canonicalAddresses } from './contracts.ts';
import type { ReadDocument } from './registration-reader.ts';
import type { MirroredAgent, MirroredFeedback } from './registry-mirror.ts';

/** An agent with what the index knows about it. */
export interface IndexedAgent {
  readonly agent: MirroredAgent;
  readonly document: ReadDocument;
  readonly feedbackCount: number;
}

const REGISTRY = canonicalAddresses.identity.toLowerCase();
const serviceSchema = z.array(z.looseObject({ name: z.string() }));
const text = z.string().catch('');

/** The summary row of the public list (8004scan.md section 4): no `raw_metadata`. */
export function buildRow({ agent, document, feedbackCount }: IndexedAgent) {
  const content = document.content ?? {};
  const protocols = listServices(content).map(({ name }) => (/^web$/i.test(name) ? 'Web' : name));
  return {
    id: `00000000-0000-4000-8000-${agent.agentId.toString().padStart(12, '0').slice(-12)}`,
    agent_id: `${LOCAL_CHAIN_ID}:${REGISTRY}:${agent.agentId}`,
    token_id: agent.agentId.toString(),
    chain_id: LOCAL_CHAIN_ID,
    chain_type: 'evm',
    contract_address: REGISTRY,
    is_testnet: true,
    owner_address: agent.owner.toLowerCase(),
    owner_ens: null,
    owner_username: null,
    owner_publisher_tier: null,
    name: text.parse(content.name) || null,
    description: text.parse(content.description) || null,
    image_url: text.parse(content.image) || null,
    is_verified: false,
    is_active: content.active !== false && document.content !== null,
    star_count: 0,
    supported_protocols: document.content === null ? null : protocols,
    x402_supported: content.x402Support === true,
    supported_trust_models: [],
    a2a_endpoint: null,
    mcp_server: null,
    total_score: 0,
    rank: null,
    network_rank: null,
    health_score: null,
    total_feedbacks: feedbackCount,
    // As the real index: 0 also when there is nothing to average.
    average_score: 0,
    cross_chain_versions: null,
    created_at: isoTime(agent.createdAtMs),
    updated_at: isoTime(agent.updatedAtMs),
  };
}

/** The row with everything that only the detail has. */
export function buildDetail(indexed: IndexedAgent) {
  const { agent, document } = indexed;
  const services = listServices(document.content ?? {});
  return {
    ...buildRow(indexed),
    agent_wallet: agent.wallet.toLowerCase(),
    creator_address: agent.creator.toLowerCase(),
    agent_type: null,
    tags: [],
    categories: [],
    ens: null,
    did: null,
    agent_url: services.map(({ endpoint }) => text.parse(endpoint)).find((endpoint) => endpoint !== '') ?? null,
    services: Object.fromEntries(services.map(({ name, ...service }) => [name.toLowerCase(), service])),
    is_endpoint_verified: false,
    endpoint_verified_at: null,
    endpoint_verified_domain: null,
    endpoint_verification_error: null,
    endpoint_last_checked_at: null,
    health_status: null,
    created_block_number: Number(agent.createdBlock),
    created_tx_hash: agent.createdTx,
    total_validations: 0,
    successful_validations: 0,
    cross_chain_links: [],
    raw_metadata: {
      onchain: [{ key: 'agentWallet', value: agent.wallet.toLowerCase(), decoded: agent.wallet.toLowerCase() }],
      offchain_uri: agent.uri,
      offchain_content: document.content,
    },
    parse_status: {
      status: document.content === null ? 'error' : 'success',
      errors: document.content === null ? [{ code: 'EA001', field: 'agentURI', message: 'Document not readable' }] : [],
      warnings: [],
      info: [],
      last_parsed_at: isoTime(document.readAtMs),
    },
    field_sources: { name: 'offchain', agent_wallet: 'onchain', services: 'offchain' },
  };
}

/** A row of the public feedback list. */
export function buildFeedbackRow(feedback: MirroredFeedback, agentName: string | null) {
  const { agentId, index } = feedback;
  return {
    id: `00000000-0000-4000-8001-${feedback.tx.slice(-12)}`,
    feedback_id: `${LOCAL_CHAIN_ID}:${agentId}:${feedback.client.toLowerCase()}:${index}`,
    chain_id: LOCAL_CHAIN_ID,
    is_testnet: true,
    score: null,
    value: feedback.value.toString(),
    value_decimals: feedback.decimals,
    comment: null,
    feedback_uri: feedback.uri,
    feedback_hash: feedback.hash,
    transaction_hash: feedback.tx,
    block_number: Number(feedback.block),
    user_address: feedback.client.toLowerCase(),
    agent: {
      token_id: agentId.toString(),
      chain_id: LOCAL_CHAIN_ID,
      registry_address: REGISTRY,
      name: agentName,
      ens: null,
    },
    endpoint: feedback.endpoint,
    tag1: feedback.tag1,
    tag2: feedback.tag2,
    feedback_index: Number(index),
    offchain_data: null,
    is_revoked: feedback.isRevoked,
    revoked_at: null,
    submitted_at: isoTime(feedback.submittedAtMs),
  };
}

function listServices(content: Readonly<Record<string, unknown>>) {
  return serviceSchema.safeParse(content.services ?? content.endpoints).data ?? [];
}
