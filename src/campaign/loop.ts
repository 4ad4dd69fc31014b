import type { Selectable } from 'kysely';
import * as z from 'zod';
import { NotFoundError } from '../base/errors.ts';
import { isSha256 } from '../base/hash.ts';
import { createLoopId, LoopId } from '../base/ids.ts';
import { JsonObject, readJson } from '../base/json.ts';
import { parseAtomic } from '../base/money.ts';
import type { Reason } from '../experiment/experiment.ts';
import { Reason as ReasonSchema } from '../experiment/experiment.ts';
import type { Variant } from '../experiment/variant.ts';
import { findRoot } from '../experiment/variant-form.ts';
import { saveSource } from '../provenance/sources.ts';
import type { Db, Trx } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';

export const LOOP_STATES = ['needs_proposals', 'running', 'finished', 'stopped', 'budget_exhausted', 'failed'] as const;
export type LoopState = (typeof LOOP_STATES)[number];

/** Who designs the experiments: the caller, or the program itself. */
export const LOOP_MODES = ['agent', 'auto'] as const;

const Hash = z.string().refine(isSha256);

/** A proposal that waits for its turn; its source is in the store. */
const QueuedProposal = z.object({
  trainHash: Hash,
  parentHash: Hash.nullable(),
  parentConfig: JsonObject.optional(),
  config: JsonObject,
  description: z.string(),
  hypothesis: z.string().nullable(),
});
export type QueuedProposal = z.infer<typeof QueuedProposal>;

/** Makes a variant, whose source has to be in the store, wait for its turn. */
export function toQueued(variant: Variant, hypothesis: string | null): QueuedProposal {
  const { trainHash, parentHash, parentConfig, config, description } = variant;
  return { trainHash, parentHash, parentConfig, config, description, hypothesis };
}

const Atomic = z.string().transform(parseAtomic);

/** What is audited unless a loop says otherwise. */
export const DEFAULT_AUDIT_SHARE = 0.1;

const Settings = z.object({
  rounds: z.int(),
  budgetAtomic: Atomic,
  maxPriceAtomic: Atomic,
  parallel: z.int(),
  prefer: z.string().nullable(),
  agent: z.string().nullable(),
  /** Share of the runs that is repeated elsewhere to see whether it is true, from 0 to 1. */
  auditShare: z.number().min(0).max(1).default(DEFAULT_AUDIT_SHARE),
  /** The loop ends when its champion reaches this. */
  targetValBpb: z.number().nullable().default(null),
  /** Unix milliseconds after which nothing new starts. */
  deadlineMs: z.number().nullable().default(null),
  mode: z.enum(LOOP_MODES).default('agent'),
});
export type LoopSettings = z.infer<typeof Settings>;
/** Settings as a start gives them: what is left out has its default. */
export type LoopSettingsInput = Omit<LoopSettings, OptionalSetting> & Partial<Pick<LoopSettings, OptionalSetting>>;
type OptionalSetting = 'auditShare' | 'targetValBpb' | 'deadlineMs' | 'mode';

/** A series of experiments around one script, within its own budget. */
export interface Loop {
  readonly loopId: LoopId;
  readonly state: LoopState;
  readonly reason: Reason | null;
  /** Hash of the first script of its lineage: what it is judged with. */
  readonly rootHash: z.infer<typeof Hash>;
  /** Hash of the script that it started from: the root, or what became of it. */
  readonly baselineHash: z.infer<typeof Hash>;
  readonly settings: LoopSettings;
  readonly queue: readonly QueuedProposal[];
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Makes a loop that starts with an unchanged run of its script. */
export async function createLoop(trx: Trx, baseline: Variant, start: LoopSettingsInput, nowMs: number): Promise<Loop> {
  const settings: LoopSettings = {
    mode: 'agent',
    auditShare: DEFAULT_AUDIT_SHARE,
    targetValBpb: null,
    deadlineMs: null,
    ...start,
  };
  const loopId = createLoopId(new Date(nowMs));
  const rootHash = Hash.parse(await findRoot(trx, { ...baseline, parentHash: null }));
  await saveSource(trx, baseline.trainHash, baseline.source, nowMs);
  await trx
    .insertInto('loops')
    .values({
      loop_id: loopId,
      state: 'running' satisfies LoopState,
      root_hash: rootHash,
      baseline_hash: baseline.trainHash,
      settings: JSON.stringify({
        ...settings,
        budgetAtomic: settings.budgetAtomic.toString(),
        maxPriceAtomic: settings.maxPriceAtomic.toString(),
      }),
      queue: '[]',
      created_at: nowMs,
      updated_at: nowMs,
    })
    .execute();
  return {
    loopId,
    state: 'running',
    reason: null,
    rootHash,
    baselineHash: baseline.trainHash,
    settings,
    queue: [],
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
  };
}

/** Loads one loop. */
export async function loadLoop(db: Db | Trx, loopId: string): Promise<Loop | undefined> {
  const row = await db.selectFrom('loops').selectAll().where('loop_id', '=', loopId).executeTakeFirst();
  return row && parseLoop(row);
}

/** Loads a loop that a caller named. @throws NotFoundError */
export async function requireLoop(db: Db, loopId: string): Promise<Loop> {
  const loop = await loadLoop(db, loopId);
  if (loop) return loop;
  throw new NotFoundError('loop', loopId, 'Use a loop_id that run_loop gave; get_status lists the latest.');
}

/** Loads loops, newest first. */
export async function loadLoops(db: Db, filter: { isRunning?: boolean; limit: number }): Promise<Loop[]> {
  let query = db.selectFrom('loops').selectAll();
  if (filter.isRunning) query = query.where('state', '=', 'running' satisfies LoopState);
  const rows = await query.orderBy('created_at', 'desc').limit(filter.limit).execute();
  return rows.map(parseLoop);
}

type LoopRow = Selectable<Schema['loops']>;

function parseLoop(row: LoopRow): Loop {
  return {
    loopId: LoopId.parse(row.loop_id),
    state: z.enum(LOOP_STATES).parse(row.state),
    reason: row.reason === null ? null : readJson(ReasonSchema, row.reason),
    rootHash: Hash.parse(row.root_hash),
    baselineHash: Hash.parse(row.baseline_hash ?? row.root_hash),
    settings: readJson(Settings, row.settings),
    queue: readJson(z.array(QueuedProposal), row.queue),
    createdAtMs: row.created_at,
    updatedAtMs: row.updated_at,
  };
}

/**
 * Changes a loop in a transaction that sees it as it is; `change` returns null to leave it.
 * @param also written in the same transaction, if the loop is changed
 */
export async function updateLoop(
  db: Db,
  loopId: string,
  nowMs: number,
  change: (loop: Loop) => { state?: LoopState; reason?: Reason | null; queue?: readonly QueuedProposal[] } | null,
  also?: (trx: Trx) => Promise<void>,
): Promise<Loop | undefined> {
  return db.transaction().execute(async (trx) => {
    const loop = await loadLoop(trx, loopId);
    const changed = loop && change(loop);
    if (!changed) return loop;
    await also?.(trx);
    await trx
      .updateTable('loops')
      .set({
        updated_at: nowMs,
        ...(changed.state === undefined ? {} : { state: changed.state }),
        ...(changed.reason === undefined ? {} : { reason: changed.reason && JSON.stringify(changed.reason) }),
        ...(changed.queue === undefined ? {} : { queue: JSON.stringify(changed.queue) }),
      })
      .where('loop_id', '=', loopId)
      .execute();
    return loadLoop(trx, loopId);
  });
}
