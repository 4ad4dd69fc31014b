import type { Clock } from '../base/time.ts';
import { parseAgentUri } from './agent-uri.ts';
import { type AgentFacts, type CacheReader, factsOfRow, type Stored } from './discovery-cache.ts';
import type { CallBudget, IndexApi } from './index-api.ts';
import { IndexError } from './index-errors.ts';
import type { IndexRow } from './index-row.ts';
import type { HiddenReason } from './reasons.ts';

export type FactsResult =
  | { readonly ok: true; readonly facts: AgentFacts }
  | { readonly ok: false; readonly reason: HiddenReason };

const FRESH_MS = 10 * 60_000;
const FRESH_NEGATIVE_MS = 60_000;
/** Where a file lies changes rarely, and reading the file itself shows whether it is still there. */
const FRESH_ADDRESS_MS = 24 * 3_600_000;

export interface AgentFactsDeps {
  readonly api: IndexApi;
  readonly cache: CacheReader;
  readonly clock: Clock;
}

/**
 * Finds where an agent's registration is: in its row, else in the cache, else by a detail call, which the index's rate
 * limit makes the scarce one.
 */
export async function findAgentFacts(deps: AgentFactsDeps, row: IndexRow, budget: CallBudget): Promise<FactsResult> {
  if (row.uri !== null || row.content !== undefined) return { ok: true, facts: factsOfRow(row) };
  const cached = await deps.cache.loadFacts(row.agent);
  if (cached && isFresh(cached, deps.clock.nowMs())) return { ok: true, facts: cached.value };
  try {
    const detail = await deps.api.fetchDetail(row.agent, budget);
    const facts = factsOfRow(detail);
    await deps.cache.saveFacts(row.agent, facts, deps.clock.nowMs());
    return { ok: true, facts };
  } catch (error) {
    if (!(error instanceof IndexError)) throw error;
    return cached && !isNegative(cached.value)
      ? { ok: true, facts: cached.value }
      : { ok: false, reason: reasonOfIndexError(error) };
  }
}

function isFresh({ value, storedAtMs }: Stored<AgentFacts>, nowMs: number): boolean {
  const ageMs = nowMs - storedAtMs;
  if (isNegative(value)) return ageMs < FRESH_NEGATIVE_MS;
  const kind = value.uri === null ? 'unusable' : parseAgentUri(value.uri).kind;
  return ageMs < (kind === 'web' || kind === 'ipfs' ? FRESH_ADDRESS_MS : FRESH_MS);
}

function isNegative(facts: AgentFacts): boolean {
  return facts.uri === null && facts.content === undefined && facts.agentUrl === null;
}

function reasonOfIndexError(error: IndexError): HiddenReason {
  if (error.code === 'rate_limited') return 'not_checked';
  if (error.code === 'cancelled') return 'pending';
  return error.code === 'not_found' ? 'not_indexed' : 'index_error';
}
