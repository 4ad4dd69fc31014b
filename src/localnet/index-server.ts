import { randomUUID } from 'node:crypto';
import express, { type ErrorRequestHandler, type Request, type Response } from 'express';
import { isoTime } from '../base/time.ts';
import { LOCAL_CHAIN_ID } from './anvil.ts';
import type { LocalClient } from './chain.ts';
import { type ListQuery, parseListQuery } from './index-query.ts';
import { buildDetail, buildFeedbackRow, buildRow, type IndexedAgent } from './index-rows.ts';
import { type HttpPart, listen } from './listen.ts';
import { createRateLimit } from './rate-limit.ts';
import { RegistrationReader } from './registration-reader.ts';
import { type MirroredAgent, RegistryMirror } from './registry-mirror.ts';

/** Path of the public API family below the index's origin. */
export const INDEX_BASE_PATH = '/api/v1/public';

/** An index that speaks 8004scan's public API over what is registered on the local chain. */
export async function startIndex(client: LocalClient, requestsPerMinute: number): Promise<HttpPart> {
  const mirror = new RegistryMirror(client);
  const reader = new RegistrationReader();
  const loadAgent = async (agent: MirroredAgent): Promise<IndexedAgent> => ({
    agent,
    document: await reader.read(agent.uri),
    feedbackCount: mirror.feedbacks.filter(({ agentId }) => agentId === agent.agentId).length,
  });

  const router = express.Router();
  router.use(createRateLimit(requestsPerMinute), async (_request, _response, next) => {
    await mirror.refresh();
    next();
  });
  router.get('/agents', async (request, response) => {
    const agents = await Promise.all(mirror.agents.map(loadAgent));
    answerPage(request, response, agents.map(buildRow), matchesAgent, agentSortKey);
  });
  router.get('/agents/:chainId/:tokenId', async (request, response) => {
    const { chainId, tokenId } = request.params;
    const agent = mirror.agents.find((one) => one.agentId.toString() === tokenId);
    if (agent && chainId === String(LOCAL_CHAIN_ID)) {
      response.json({ success: true, data: buildDetail(await loadAgent(agent)), meta: buildMeta() });
    } else {
      response.status(404).json({ detail: `Agent not found on chain ${chainId} with identifier ${tokenId}` });
    }
  });
  router.get('/feedbacks', async (request, response) => {
    const agents = await Promise.all(mirror.agents.map(loadAgent));
    const names = new Map(agents.map((one) => [one.agent.agentId, buildRow(one).name]));
    const rows = mirror.feedbacks.map((one) => buildFeedbackRow(one, names.get(one.agentId) ?? null));
    const isOfAgent = (row: FeedbackRow, query: ListQuery) => !query.tokenId || row.agent.token_id === query.tokenId;
    answerPage(request, response, rows, isOfAgent, (row) => row.submitted_at);
  });
  router.get('/chains', (_request, response) => {
    const chains = [{ chain_id: LOCAL_CHAIN_ID, name: 'Base Sepolia (local)', is_testnet: true, is_enabled: true }];
    response.json({ success: true, data: { chains }, meta: buildMeta() });
  });
  router.get('/stats', (_request, response) => {
    const totals = { total_agents: mirror.agents.length, total_feedbacks: mirror.feedbacks.length, total_chains: 1 };
    response.json({ success: true, data: { ...totals, total_validations: 0 }, meta: buildMeta() });
  });

  const app = express().disable('x-powered-by').use(INDEX_BASE_PATH, router);
  app.use((_request, response) => void response.status(404).json({ detail: 'Not Found' }));
  app.use(answerError);
  const part = await listen('index', app);
  return {
    origin: part.origin,
    close: async () => {
      await Promise.all([part.close(), reader.close()]);
    },
  };
}

type AgentRow = ReturnType<typeof buildRow>;
type FeedbackRow = ReturnType<typeof buildFeedbackRow>;

/** Filters, sorts and cuts rows as the query says, in the envelope of the public API. */
function answerPage<R extends { readonly chain_id: number; readonly is_testnet: boolean }>(
  request: Request,
  response: Response,
  rows: readonly R[],
  matches: (row: R, query: ListQuery) => boolean,
  sortKey: (row: R, sortBy: string) => string,
): void {
  const query = parseListQuery(new URL(request.originalUrl, 'http://index'));
  if ('status' in query) {
    response.status(query.status).json(query.body);
    return;
  }
  const { page, limit } = query;
  const found = rows
    .filter((row) => query.chainId === undefined || row.chain_id === query.chainId)
    .filter((row) => query.isTestnet === undefined || row.is_testnet === query.isTestnet)
    .filter((row) => matches(row, query))
    .map((row) => ({ row, key: sortKey(row, query.sortBy) }))
    .sort((a, b) => a.key.localeCompare(b.key, 'en') * (query.isAscending ? 1 : -1))
    .map(({ row }) => row);
  const pagination = { page, limit, total: found.length, hasMore: page * limit < found.length };
  const data = found.slice((page - 1) * limit, page * limit);
  response.json({ success: true, data, meta: { ...buildMeta(), pagination } });
}

function matchesAgent(row: AgentRow, query: ListQuery): boolean {
  const { search, protocol, ownerAddress } = query;
  const isProtocol = (row.supported_protocols ?? []).some((name) => name.toLowerCase() === protocol);
  if (protocol !== undefined && !isProtocol) return false;
  if (ownerAddress !== undefined && row.owner_address !== ownerAddress) return false;
  const texts = [row.name, row.description, row.agent_id, ...(row.supported_protocols ?? [])];
  return search === undefined || texts.some((one) => one?.toLowerCase().includes(search));
}

/** Unknown orders are ignored, as the real index does; within one second the chain's order decides. */
function agentSortKey(row: AgentRow, sortBy: string): string {
  const id = row.token_id.padStart(78, '0');
  if (sortBy === 'token_id') return id;
  return `${sortBy === 'name' ? (row.name ?? '') : row.created_at} ${id}`;
}

function buildMeta() {
  return { version: '1.0.0', timestamp: isoTime(Date.now()), requestId: randomUUID() };
}

const answerError: ErrorRequestHandler = (_error, _request, response, _next) => {
  const error = { code: 'InternalError', message: 'The local chain does not answer' };
  response.status(500).json({ success: false, error });
};
