import { findChain } from '../base/chains.ts';
import { InputError } from '../base/errors.ts';
import type { HttpClient } from '../net/http.ts';
import type { Criteria } from './judge.ts';
import { normalizeSkill, SKILL_ALIASES } from './oasf.ts';
import { readChainId } from './tolerant.ts';

/** Sizes of index pages: few, so that callers with similar limits share a cached list. */
const PAGE_SIZES: readonly number[] = [20, 50, 100];

/** What a question comes down to; equal keys share runs and cached lists. */
export interface Plan {
  readonly key: string;
  readonly criteria: Criteria;
  readonly chainId: number | null;
  readonly pageSize: number;
  readonly wanted: number;
}

/** Registrations live on more chains than we can pay on: any chain id is accepted. */
function resolveChainId(chain: string | undefined): number | null {
  if (chain === undefined) return null;
  const chainId = findChain(chain)?.chainId ?? readChainId(chain.trim().replace(/^eip155:/i, ''));
  if (chainId !== null) return chainId;
  throw new InputError(
    'unknown_chain',
    `${JSON.stringify(chain.slice(0, 80))} is not a chain that we know.`,
    'Name a chain such as base or base-sepolia, or give its id as eip155:8453.',
  );
}

/** @throws InputError `unknown_chain` */
export function createPlan(
  request: { readonly skill?: string | undefined; readonly chain?: string | undefined; readonly limit: number },
  deps: { readonly http: HttpClient; readonly blockedWorkers: readonly string[] },
): Plan {
  const chainId = resolveChainId(request.chain);
  const skill = normalizeSkill(request.skill ?? '') || undefined;
  const pageSize = PAGE_SIZES.find((size) => size >= request.limit) ?? 100;
  const group = skill === undefined || SKILL_ALIASES.includes(skill) ? 'default' : skill;
  return {
    key: `${group}|${chainId ?? 'all'}|${pageSize}`,
    criteria: { http: deps.http, blockedWorkers: deps.blockedWorkers, skill },
    chainId,
    pageSize,
    wanted: request.limit,
  };
}
