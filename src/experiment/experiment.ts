import * as z from 'zod';
import type { CoordinatorError } from '../base/errors.ts';
import { isSha256, type Sha256 } from '../base/hash.ts';
import { ExperimentId } from '../base/ids.ts';
import { JsonObject, readJson } from '../base/json.ts';
import { type AtomicUsdc, atomicUsdc } from '../base/money.ts';
import type { Db, Trx } from '../store/database.ts';
import { EXPERIMENT_STATES, type ExperimentState, SETTLEMENTS, type Settlement } from './states.ts';

/** Why an experiment is where it is, in our words. */
export const Reason = z.object({
  code: z.string(),
  text: z.string(),
  nextStep: z.string().optional(),
  /** What the worker itself says about it, cleaned and cut; never part of our own sentences. */
  untrustedNote: z.string().optional(),
  /** Unix milliseconds before which the other side does not want to be asked again. */
  retryAtMs: z.number().optional(),
});
export type Reason = z.infer<typeof Reason>;

/** An error of ours as the reason of an experiment's state. */
export function toReason(error: CoordinatorError): Reason {
  return { code: error.code, text: error.message, nextStep: error.nextStep };
}

/** What is kept of a worker's claim about a run. */
export const StoredResult = z.object({
  status: z.enum(['completed', 'failed', 'timeout', 'unknown']),
  returnCode: z.int().nullable(),
  durationSeconds: z.number().nullable(),
  metrics: z.record(z.string(), z.union([z.number(), z.string()])).nullable(),
  untrustedNote: z.string().nullable(),
  flags: z.array(z.string()),
});
export type StoredResult = z.infer<typeof StoredResult>;

/** Risks that a caller may take on purpose; none by default. */
export const Consent = z.object({
  /** Pay a worker before it works, without a refund. */
  upfront: z.boolean(),
  /** Start another attempt although an earlier payment may still be used. */
  overlap: z.boolean(),
  /** Use an offer whose payment may expire before the run ends. */
  shortTimeout: z.boolean(),
});
export type Consent = z.infer<typeof Consent>;

export const NO_CONSENT: Consent = { upfront: false, overlap: false, shortTimeout: false };

export const VERDICTS = [
  'BASELINE',
  'KEEP',
  'KEEP-SIMPLER',
  'RETEST',
  'DISCARD',
  'FAILED',
  'INVALID',
  'SUSPECT',
] as const;
export type Verdict = (typeof VERDICTS)[number];

/**
 * What a run says about another, or waits for: a gain is `provisional` until fresh runs elsewhere; those end as
 * `confirmed` or `refuted`; an audit `agrees` or `contradicts`.
 */
export const VERIFICATIONS = ['provisional', 'confirmed', 'refuted', 'agrees', 'contradicts'] as const;
export type Verification = (typeof VERIFICATIONS)[number];

/** A verdict and the numbers that led to it. */
export const Judgement = z.object({
  verdict: z.enum(VERDICTS),
  because: z.string(),
  championId: z.string().nullable(),
  /** Champion minus this one: positive is better. */
  delta: z.number().nullable(),
  sigma: z.number().nullable(),
  z: z.number().nullable(),
  verification: z.enum(VERIFICATIONS).nullable().optional(),
});
export type Judgement = z.infer<typeof Judgement>;

/**
 * What a run is for. Those after `round` are extra runs of a loop, paid from its budget and counted apart: `retest` asks
 * again where a score was too close to call, `confirmation` a would-be champion, `audit` whether a score was true,
 * `canary` a worker that is to be trusted again. A worker cannot tell any of them from a round.
 */
export const ROLES = ['single', 'baseline', 'round', 'retest', 'confirmation', 'audit', 'canary'] as const;
export type Role = (typeof ROLES)[number];

/** One experiment as the store has it. */
export interface Experiment {
  readonly experimentId: ExperimentId;
  readonly state: ExperimentState;
  readonly settlement: Settlement;
  readonly reason: Reason | null;
  readonly trainHash: Sha256;
  readonly variantHash: Sha256;
  readonly config: JsonObject;
  readonly parentHash: string | null;
  /** The variant that it was made from: that source with the config that it had. */
  readonly parentVariantHash: string | null;
  /** First source of the lineage: what shares it is compared. */
  readonly rootHash: Sha256;
  readonly description: string;
  readonly hypothesis: string | null;
  readonly agent: string | null;
  /** An endpoint, or `auto`. */
  readonly workerRequest: string;
  readonly quoteId: string | null;
  readonly maxPriceAtomic: AtomicUsdc;
  readonly consent: Consent;
  readonly loopId: string | null;
  readonly role: Role;
  readonly round: number | null;
  /** The experiment that an extra run repeats; null for others. */
  readonly auditOf: string | null;
  readonly workerEndpoint: string | null;
  readonly workerId: string | null;
  /** Why this worker was chosen, one line. */
  readonly workerChoice: string | null;
  /** Number of the newest attempt, from 1; 0 before the first. */
  readonly attempt: number;
  /** Counts only where `result` is a completed run of exactly this variant. */
  readonly valBpb: number | null;
  readonly result: StoredResult | null;
  readonly judgement: Judgement | null;
  /** Worker endpoint → Unix milliseconds until which it is not asked again. */
  readonly avoid: Readonly<Record<string, number>>;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly finishedAtMs: number | null;
}

const Hash = z.string().refine(isSha256);

const Row = z.object({
  experiment_id: ExperimentId,
  state: z.enum(EXPERIMENT_STATES),
  settlement: z.enum(SETTLEMENTS),
  train_hash: Hash,
  variant_hash: Hash,
  root_hash: Hash,
  role: z.enum(ROLES),
});

type ExperimentRow = NonNullable<Awaited<ReturnType<typeof selectExperiment>>>;

function selectExperiment(db: Db | Trx, experimentId: string) {
  return db.selectFrom('experiments').selectAll().where('experiment_id', '=', experimentId).executeTakeFirst();
}

/** Reads one row of the table. */
export function parseExperiment(row: ExperimentRow): Experiment {
  const checked = Row.parse(row);
  return {
    experimentId: checked.experiment_id,
    state: checked.state,
    settlement: checked.settlement,
    reason: row.reason === null ? null : readJson(Reason, row.reason),
    trainHash: checked.train_hash,
    variantHash: checked.variant_hash,
    config: readJson(JsonObject, row.config),
    parentHash: row.parent_hash,
    parentVariantHash: row.parent_variant_hash,
    rootHash: checked.root_hash,
    description: row.description,
    hypothesis: row.hypothesis,
    agent: row.agent,
    workerRequest: row.worker_request,
    quoteId: row.quote_id,
    maxPriceAtomic: atomicUsdc(row.max_price),
    consent: readJson(Consent, row.consent),
    loopId: row.loop_id,
    role: checked.role,
    round: row.round,
    auditOf: row.audit_of,
    workerEndpoint: row.worker_endpoint,
    workerId: row.worker_id,
    workerChoice: row.worker_choice,
    attempt: row.attempt,
    valBpb: row.val_bpb,
    result: row.result === null ? null : readJson(StoredResult, row.result),
    judgement: row.judgement === null ? null : readJson(Judgement, row.judgement),
    avoid: readJson(z.record(z.string(), z.number()), row.avoid),
    createdAtMs: row.created_at,
    updatedAtMs: row.updated_at,
    finishedAtMs: row.finished_at,
  };
}

/** Loads one experiment. */
export async function loadExperiment(db: Db | Trx, experimentId: string): Promise<Experiment | undefined> {
  const row = await selectExperiment(db, experimentId);
  return row && parseExperiment(row);
}

/** Loads experiments, newest first. */
export async function loadExperiments(
  db: Db | Trx,
  filter: { loopId?: string; role?: Role; rootHash?: string; isOpen?: boolean; limit: number; beforeMs?: number },
): Promise<Experiment[]> {
  let query = db.selectFrom('experiments').selectAll();
  if (filter.loopId !== undefined) query = query.where('loop_id', '=', filter.loopId);
  if (filter.role !== undefined) query = query.where('role', '=', filter.role);
  if (filter.rootHash !== undefined) query = query.where('root_hash', '=', filter.rootHash);
  if (filter.isOpen) query = query.where('finished_at', 'is', null);
  if (filter.beforeMs !== undefined) query = query.where('created_at', '<', filter.beforeMs);
  const rows = await query
    .orderBy('created_at', 'desc')
    .orderBy('round', 'desc')
    .orderBy('experiment_id')
    .limit(filter.limit)
    .execute();
  return rows.map(parseExperiment);
}
