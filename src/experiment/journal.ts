import { InputError } from '../base/errors.ts';
import { createExperimentId } from '../base/ids.ts';
import type { AtomicUsdc } from '../base/money.ts';
import { saveSource } from '../provenance/sources.ts';
import type { Db, Trx } from '../store/database.ts';
import { findClaim, releaseClaim, takeClaim } from './claims.ts';
import {
  type Consent,
  type Experiment,
  type Judgement,
  loadExperiment,
  type Reason,
  type Role,
  type StoredResult,
} from './experiment.ts';
import { canTransition, type ExperimentState, isFinal, type Settlement } from './states.ts';
import { answerWith, findSubmitted, keyOf, retireKey, type Submission, WITHOUT_PAYMENT } from './submission.ts';
import { hashParent, type Variant } from './variant.ts';
import { effectiveHashOf, findRoot, saveVariantForm } from './variant-form.ts';

/** The right of one process to write to an experiment; every take-over raises the epoch and fences the one before. */
export interface Lease {
  readonly experimentId: string;
  readonly owner: string;
  readonly epoch: number;
}

/** Another process has taken the experiment over: this one writes nothing any more. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

export interface Draft extends Submission {
  readonly variant: Variant;
  readonly maxPriceAtomic: AtomicUsdc;
  readonly consent: Consent;
  readonly hypothesis: string | null;
  readonly agent: string | null;
  /** What the gate had to say about the variant. */
  readonly warnings?: readonly string[];
  readonly loop: {
    readonly loopId: string;
    readonly role: Role;
    readonly round: number | null;
    /** The experiment that an extra run repeats. */
    readonly auditOf?: string;
  } | null;
}

/**
 * Writes an experiment down, or finds the one that the same key already made: a repeated call never pays again.
 * @returns the experiment, and whether it is new
 */
export async function draftExperiment(
  db: Db,
  draft: Draft,
  nowMs: number,
): Promise<{ experiment: Experiment; isNew: boolean }> {
  return db.transaction().execute((trx) => draftWithin(trx, draft, nowMs));
}

/** The same as `draftExperiment`, as part of a larger step. */
export async function draftWithin(
  trx: Trx,
  draft: Draft,
  nowMs: number,
): Promise<{ experiment: Experiment; isNew: boolean }> {
  const known = await findSubmitted(trx, draft);
  if (known) return { experiment: known, isNew: false };
  const claimed = await findClaimed(trx, draft, nowMs);
  if (claimed) return { experiment: await answerWith(trx, draft, claimed, nowMs), isNew: false };
  if (draft.quoteId !== null) await assertUnused(trx, draft.quoteId);
  const key = keyOf(draft);
  await retireKey(trx, key);
  return { experiment: await insertDraft(trx, draft, key, nowMs), isNew: true };
}

/**
 * The running experiment that has claimed the same effective variant, whoever started it. Runs of a loop were claimed
 * when they were queued, and repeats are meant.
 */
async function findClaimed(trx: Trx, draft: Draft, nowMs: number): Promise<Experiment | undefined> {
  if (draft.loop !== null || draft.isRepeat) return undefined;
  const claim = await findClaim(trx, effectiveHashOf(draft.variant), nowMs);
  const holder = claim?.experimentId == null ? undefined : await loadExperiment(trx, claim.experimentId);
  return holder?.finishedAtMs === null ? holder : undefined;
}

/** Consent to a price is given once. @throws InputError `quote_used` when another experiment was bought under it */
async function assertUnused(trx: Trx, quoteId: string): Promise<void> {
  const used = await trx
    .selectFrom('experiments')
    .select('experiment_id')
    .where('quote_id', '=', quoteId)
    .where('state', 'not in', WITHOUT_PAYMENT)
    .executeTakeFirst();
  if (!used) return;
  throw new InputError(
    'quote_used',
    `${quoteId} was already used for ${used.experiment_id}. Nothing was signed or paid.`,
    'Ask for a fresh one with probe_worker.',
  );
}

async function insertDraft(trx: Trx, draft: Draft, key: string, nowMs: number): Promise<Experiment> {
  const { variant } = draft;
  await saveSource(trx, variant.trainHash, variant.source, nowMs);
  const experimentId = createExperimentId(new Date(nowMs));
  const rootHash = (await findLineage(trx, draft)) ?? (await findRoot(trx, variant));
  const effectiveHash = await saveVariantForm(trx, variant, rootHash, draft.warnings ?? [], nowMs);
  const claim = { experimentId, loopId: draft.loop?.loopId ?? null, agent: draft.agent };
  await takeClaim(trx, effectiveHash, claim, nowMs);
  await trx
    .insertInto('experiments')
    .values({
      experiment_id: experimentId,
      idempotency_key: key,
      state: 'drafted' satisfies ExperimentState,
      settlement: 'none' satisfies Settlement,
      train_hash: variant.trainHash,
      variant_hash: variant.variantHash,
      config: JSON.stringify(variant.config),
      parent_hash: variant.parentHash,
      parent_variant_hash: hashParent(variant),
      root_hash: rootHash,
      description: variant.description,
      hypothesis: draft.hypothesis,
      agent: draft.agent,
      worker_request: draft.workerRequest,
      quote_id: draft.quoteId,
      max_price: Number(draft.maxPriceAtomic),
      consent: JSON.stringify(draft.consent),
      loop_id: draft.loop?.loopId ?? null,
      role: draft.loop?.role ?? 'single',
      round: draft.loop?.round ?? null,
      audit_of: draft.loop?.auditOf ?? null,
      attempt: 0,
      lease_until: 0,
      epoch: 0,
      avoid: '{}',
      created_at: nowMs,
      updated_at: nowMs,
    })
    .execute();
  return require(trx, experimentId);
}

/** What a loop runs belongs to the loop's lineage, wherever the same bytes ran before. */
async function findLineage(trx: Trx, { loop }: Draft): Promise<string | undefined> {
  if (!loop) return undefined;
  const row = await trx.selectFrom('loops').select('root_hash').where('loop_id', '=', loop.loopId).executeTakeFirst();
  return row?.root_hash;
}

async function require(trx: Trx, experimentId: string): Promise<Experiment> {
  const experiment = await loadExperiment(trx, experimentId);
  if (!experiment) throw new TypeError(`experiment ${experimentId} vanished`);
  return experiment;
}

/** What a transition changes besides the state. */
export interface Change {
  readonly settlement?: Settlement;
  readonly reason?: Reason | null;
  readonly quoteId?: string;
  readonly worker?: { readonly endpoint: string; readonly workerId: string | null; readonly choice?: string };
  readonly attempt?: number;
  readonly result?: { readonly stored: StoredResult | null; readonly valBpb: number | null };
  readonly judgement?: Judgement;
  readonly avoid?: Readonly<Record<string, number>>;
}

/**
 * Passes an experiment to another state (or stays in it), together with whatever `also` writes, as one durable step.
 * @throws LeaseLostError when another process has taken it over; nothing is written then
 */
export async function advance(
  db: Db,
  lease: Lease,
  to: ExperimentState,
  change: Change,
  nowMs: number,
  also?: (trx: Trx) => Promise<void>,
): Promise<Experiment> {
  return db.transaction().execute(async (trx) => {
    const current = await loadExperiment(trx, lease.experimentId);
    if (!current) throw new LeaseLostError(lease.experimentId);
    if (current.state !== to && !canTransition(current.state, to)) throw new LeaseLostError(`${current.state} → ${to}`);
    const updated = await trx
      .updateTable('experiments')
      .set({ state: to, updated_at: nowMs, ...columnsOf(change), ...(isFinal(to) ? { finished_at: nowMs } : {}) })
      .where('experiment_id', '=', lease.experimentId)
      .where('lease_owner', '=', lease.owner)
      .where('epoch', '=', lease.epoch)
      .executeTakeFirst();
    if (updated.numUpdatedRows !== 1n) throw new LeaseLostError(lease.experimentId);
    await also?.(trx);
    if (isFinal(to)) await releaseClaim(trx, lease.experimentId);
    return require(trx, lease.experimentId);
  });
}

function columnsOfWorker({ endpoint, workerId, choice }: NonNullable<Change['worker']>) {
  return { worker_endpoint: endpoint, worker_id: workerId, ...(choice === undefined ? {} : { worker_choice: choice }) };
}

function columnsOf(change: Change) {
  return {
    ...(change.settlement !== undefined ? { settlement: change.settlement } : {}),
    ...(change.reason !== undefined ? { reason: change.reason === null ? null : JSON.stringify(change.reason) } : {}),
    ...(change.quoteId !== undefined ? { quote_id: change.quoteId } : {}),
    ...(change.worker !== undefined ? columnsOfWorker(change.worker) : {}),
    ...(change.attempt !== undefined ? { attempt: change.attempt } : {}),
    ...(change.result !== undefined
      ? { result: change.result.stored && JSON.stringify(change.result.stored), val_bpb: change.result.valBpb }
      : {}),
    ...(change.judgement !== undefined
      ? { judgement: JSON.stringify(change.judgement), verdict: change.judgement.verdict }
      : {}),
    ...(change.avoid !== undefined ? { avoid: JSON.stringify(change.avoid) } : {}),
  };
}
