import * as z from 'zod';
import { isoTime } from '../base/time.ts';
import { formatAgentId, nameChain } from './agent-identity.ts';
import { Health, UNKNOWN_HEALTH } from './health.ts';
import type { IndexRow } from './index-row.ts';
import { HiddenReason } from './reasons.ts';
import { ScoreProblem } from './self-reported.ts';

/**
 * `verified`: the endpoint's own host names the token. `file_only`: the token's file does, but it is served elsewhere.
 * `unbound`: neither; never to be selected by ourselves. `operator`: the operator named the endpoint.
 */
export const WorkerIdentity = z.enum(['verified', 'file_only', 'unbound', 'operator']);
export type WorkerIdentity = z.infer<typeof WorkerIdentity>;

const Address = z.templateLiteral(['0x', z.string().regex(/^[0-9a-fA-F]{40}$/)]).nullable();

/** A worker as discovery hands it out; also the form in which it is cached. */
export const Worker = z
  .object({
    /** `<chainId>:<registry>:<agentId>`, or `operator:<endpoint>`. */
    workerId: z.string(),
    /** As `normalizeEndpoint` spells it. Null only when hidden: then there is no usable address. */
    workerEndpoint: z.string().nullable(),
    /** Chain of the registration: its name, or its CAIP-2 name; null for workers that the operator named. */
    chain: z.string().nullable(),
    chainId: z.number().nullable(),
    /** Decimal; `0` is an id. */
    agentId: z.string().nullable(),
    identity: WorkerIdentity,
    /** Every registration of this endpoint, the representing one first. */
    identities: z.array(z.object({ workerId: z.string(), identity: WorkerIdentity }).readonly()).readonly(),
    /** A worker that may be the same under another address: same owner and same name. A hint only. */
    possibleDuplicateOf: z.string().nullable(),
    active: z.boolean().nullable(),
    matchedSkill: z.string().nullable(),
    x402: z.boolean().nullable(),
    health: Health,
    owner: Address,
    agentWallet: Address,
    /** The worker's own claim; null when it makes none that can be true. Ranked apart, never trusted. */
    selfReportedValBpb: z.number().nullable(),
    /** When the worker says that it was measured. */
    selfReportedUpdated: z.string().nullable(),
    /** Why the score that it claims cannot be one; null also without a claim. */
    selfReportedProblem: ScoreProblem.nullable(),
    /** When the index last read the registration, ISO 8601. */
    indexedAt: z.string().nullable(),
    /** When we last read the registration ourselves, ISO 8601; null: this is the index's copy. */
    fetchedAt: z.string().nullable(),
    source: z.enum(['8004scan', '8004scan-internal', 'chain', 'static']),
    /** Seconds since this record was made. */
    ageSeconds: z.number(),
    untrustedName: z.string().nullable(),
    untrustedDescription: z.string().nullable(),
    /** Why it is not offered; absent for workers that are. */
    hiddenReason: HiddenReason.optional(),
  })
  .readonly();
export type Worker = z.infer<typeof Worker>;

/** A worker of which nothing is known but its row in the index. */
export function draftFromRow(row: IndexRow, source: Worker['source']): Worker {
  const workerId = formatAgentId(row.agent);
  return {
    ...BLANK,
    workerId,
    chain: nameChain(row.agent.chainId),
    chainId: row.agent.chainId,
    agentId: row.agent.agentId,
    identities: [{ workerId, identity: 'unbound' }],
    active: row.active,
    x402: row.x402,
    owner: row.owner,
    agentWallet: row.agentWallet,
    indexedAt: row.indexedAt,
    source,
    untrustedName: row.nameUntrusted,
    untrustedDescription: row.descriptionUntrusted,
    hiddenReason: 'pending',
  };
}

/** A worker that the operator vouches for, by its endpoint alone. */
export function draftFromOperator(endpoint: string, nowMs: number): Worker {
  const workerId = `operator:${endpoint}`;
  return {
    ...BLANK,
    workerId,
    workerEndpoint: endpoint,
    identity: 'operator',
    identities: [{ workerId, identity: 'operator' }],
    fetchedAt: isoTime(nowMs),
    source: 'static',
  };
}

/** The same worker with another identity, also in its own list of identities. */
export function withIdentity(worker: Worker, identity: WorkerIdentity): Worker {
  const identities = worker.identities.map((entry) =>
    entry.workerId === worker.workerId ? { ...entry, identity } : entry,
  );
  return { ...worker, identity, identities };
}

const BLANK: Omit<Worker, 'hiddenReason'> = {
  workerId: '',
  workerEndpoint: null,
  chain: null,
  chainId: null,
  agentId: null,
  identity: 'unbound',
  identities: [],
  possibleDuplicateOf: null,
  active: null,
  matchedSkill: null,
  x402: null,
  health: UNKNOWN_HEALTH,
  owner: null,
  agentWallet: null,
  selfReportedValBpb: null,
  selfReportedUpdated: null,
  selfReportedProblem: null,
  indexedAt: null,
  fetchedAt: null,
  source: 'static',
  ageSeconds: 0,
  untrustedName: null,
  untrustedDescription: null,
};
