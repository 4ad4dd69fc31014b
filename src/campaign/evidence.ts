import type { ExpressionBuilder } from 'kysely';
import * as z from 'zod';
import { readJson } from '../base/json.ts';
import { VERDICTS, type Verdict } from '../experiment/experiment.ts';
import type { Db, Trx } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import type { Party } from './party.ts';

/** What a scored run is compared by; kept with its experiment. */
export const Evidence = z.object({
  /** Hash that all seeds of a program share. */
  family: z.string(),
  seed: z.string().nullable(),
  /** Runs of different tiers are never compared. */
  tier: z.string(),
  /** The worker's word about the data; runs of different data are never compared. */
  dataHash: z.string().nullable(),
  /** Optimizer steps. */
  steps: z.number().nullable(),
  /** Lines of code: what "simpler" is measured by. */
  lines: z.number(),
  /** Suspect for nothing but its gain: somebody else may get the same. */
  isTooGood: z.boolean().optional(),
});
export type Evidence = z.infer<typeof Evidence>;

/** A run with a score, whatever its verdict. */
export interface ScoredRun extends Evidence, Party {
  readonly experimentId: string;
  readonly loopId: string | null;
  readonly rootHash: string;
  readonly trainHash: string;
  readonly variantHash: string;
  /** Variant that it was made from; null where nobody knows it, and for repeats of the same bytes. */
  readonly parentVariantHash: string | null;
  readonly role: string;
  readonly auditOf: string | null;
  readonly verdict: Verdict;
  readonly valBpb: number;
  /** Unix milliseconds. */
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Verdicts whose score may be compared with others. */
const COUNTS: readonly Verdict[] = ['BASELINE', 'KEEP', 'KEEP-SIMPLER', 'RETEST', 'DISCARD'];

/** Whether a run's score may be compared with others. */
export function doesCount({ verdict }: { readonly verdict: Verdict }): boolean {
  return COUNTS.includes(verdict);
}

/** Whether two runs were about the same thing under the same conditions. */
export function isComparable(a: Pick<Evidence, 'tier' | 'dataHash'>, b: Pick<Evidence, 'tier' | 'dataHash'>): boolean {
  return a.tier === b.tier && isSameData(a, b);
}

/** Whether two runs may have read the same data: what one of them does not say is no difference. */
export function isSameData(a: Pick<Evidence, 'dataHash'>, b: Pick<Evidence, 'dataHash'>): boolean {
  return a.dataHash === null || b.dataHash === null || a.dataHash === b.dataHash;
}

/** A lineage, and the scope whose titles matter; absent: the best champions of all its scopes. */
interface LineageFilter {
  readonly rootHash: string;
  readonly scope?: string;
}

/**
 * Loads runs with a score, oldest first: the newest of one lineage with what is known of its champions,
 * or the repeats: programs that several workers ran.
 */
export async function loadScoredRuns(db: Db | Trx, filter: LineageFilter | 'repeats'): Promise<ScoredRun[]> {
  const query = selectScored(db);
  const wanted =
    filter === 'repeats'
      ? query.where('experiments.variant_hash', 'in', selectRepeated)
      : query.where('experiments.experiment_id', 'in', (eb) => selectTelling(eb, filter.rootHash, filter.scope));
  const rows = await wanted.orderBy('experiments.created_at').orderBy('experiments.experiment_id').execute();
  // A variant of another lineage may hold the same bytes.
  const own = filter === 'repeats' ? rows : rows.filter((row) => row.root_hash === filter.rootHash);
  return own.flatMap(toScoredRun);
}

/** What lies farther back is no evidence that a decision still waits for; every row costs its time with each answer. */
const MAX_LINEAGE_RUNS = 400;
/** Runs about champions, and champions of other loops that may be the best of a lineage. */
const MAX_TITLE_RUNS = 100;
const MAX_HOLDERS = 12;

/** Ids of runs; each part reads one index from end to end of what it needs. */
function selectTelling(eb: ExpressionBuilder<Schema, 'experiments'>, rootHash: string, scope: string | undefined) {
  const newest = eb
    .selectFrom('experiments as run')
    .select('run.experiment_id')
    .where('run.root_hash', '=', rootHash)
    .where('run.val_bpb', 'is not', null)
    .orderBy('run.created_at', 'desc')
    .limit(MAX_LINEAGE_RUNS);
  const titles = eb.selectFrom('titles').select(['titles.experiment_id', 'titles.variant_hash']);
  const holders =
    scope === undefined
      ? titles
          .innerJoin('experiments as held', 'held.experiment_id', 'titles.experiment_id')
          .where('titles.root_hash', '=', rootHash)
          .orderBy('titles.verified', 'desc')
          .orderBy('held.val_bpb')
          .limit(MAX_HOLDERS)
      : titles.where('titles.scope', '=', scope);
  const held = eb.selectFrom(holders.as('held'));
  const about = eb.selectFrom('experiments as run').select('run.experiment_id').limit(MAX_TITLE_RUNS);
  const same = about
    .where('run.variant_hash', 'in', held.select('held.variant_hash').distinct())
    .orderBy('run.created_at', 'desc');
  const repeats = about.where('run.audit_of', 'in', held.select('held.experiment_id'));
  return eb
    .selectFrom(newest.as('newest'))
    .select('newest.experiment_id')
    .union(held.select('held.experiment_id'))
    .union(eb.selectFrom(same.as('same')).select('same.experiment_id'))
    .union(eb.selectFrom(repeats.as('repeats')).select('repeats.experiment_id'));
}

/** What workers said of the same program long ago says little about them now. */
const MAX_REPEATS = 2_000;

/** Programs among the newest repeats, and among the newest runs that somebody asked for twice, that two workers ran. */
function selectRepeated(eb: ExpressionBuilder<Schema, 'experiments'>) {
  const newest = eb.selectFrom('experiments as run').select('run.variant_hash').limit(MAX_REPEATS);
  const repeats = newest.where('run.audit_of', 'is not', null).orderBy('run.created_at', 'desc');
  const scored = newest.where('run.val_bpb', 'is not', null).orderBy('run.created_at', 'desc');
  const recent = eb
    .selectFrom(repeats.as('repeats'))
    .select('repeats.variant_hash')
    .union(eb.selectFrom(scored.as('scored')).select('scored.variant_hash'));
  return eb
    .selectFrom('experiments as others')
    .select('others.variant_hash')
    .where('others.variant_hash', 'in', recent)
    .where('others.val_bpb', 'is not', null)
    .groupBy('others.variant_hash')
    .having((having) => having.fn.count('others.worker_endpoint').distinct(), '>', 1);
}

function selectScored(db: Db | Trx) {
  return db
    .selectFrom('experiments')
    .leftJoin('attempts', (join) =>
      join
        .onRef('attempts.experiment_id', '=', 'experiments.experiment_id')
        .onRef('attempts.attempt', '=', 'experiments.attempt'),
    )
    .select([
      'experiments.experiment_id',
      'experiments.loop_id',
      'experiments.root_hash',
      'experiments.train_hash',
      'experiments.variant_hash',
      'experiments.parent_variant_hash',
      'experiments.role',
      'experiments.audit_of',
      'experiments.verdict',
      'experiments.val_bpb',
      'experiments.evidence',
      'experiments.worker_endpoint',
      'experiments.created_at',
      'experiments.updated_at',
      'attempts.pay_to',
    ])
    .where('experiments.val_bpb', 'is not', null)
    .where('experiments.verdict', 'is not', null);
}

const KNOWN_VERDICTS: ReadonlyMap<string, Verdict> = new Map(VERDICTS.map((verdict) => [verdict, verdict]));

type Row = Awaited<ReturnType<ReturnType<typeof selectScored>['execute']>>[number];

function toScoredRun(row: Row): ScoredRun[] {
  const verdict = KNOWN_VERDICTS.get(row.verdict ?? '');
  if (row.val_bpb === null || verdict === undefined) return [];
  const evidence = row.evidence === null ? plainEvidence(row.variant_hash) : readJson(Evidence, row.evidence);
  // One literal: spreading into hundreds of objects of this size takes several times as long.
  return [
    {
      family: evidence.family,
      seed: evidence.seed,
      tier: evidence.tier,
      dataHash: evidence.dataHash,
      steps: evidence.steps,
      lines: evidence.lines,
      isTooGood: evidence.isTooGood,
      experimentId: row.experiment_id,
      loopId: row.loop_id,
      rootHash: row.root_hash,
      trainHash: row.train_hash,
      variantHash: row.variant_hash,
      parentVariantHash: row.parent_variant_hash,
      role: row.role,
      auditOf: row.audit_of,
      verdict,
      valBpb: row.val_bpb,
      endpoint: row.worker_endpoint ?? '',
      payTo: row.pay_to,
      createdAtMs: row.created_at,
      updatedAtMs: row.updated_at,
    },
  ];
}

/** A run of which nothing but its score was kept: comparable with all others of its lineage. */
function plainEvidence(variantHash: string): Evidence {
  return { family: variantHash, seed: null, tier: ANY_TIER, dataHash: null, steps: null, lines: 0 };
}

/** The tier of workers of which nothing is known that parts them. */
export const ANY_TIER = 'any';

/** Groups by a key, in the order of first appearance. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return [...groups.values()];
}

/** The value in the middle; of an even number the mean of both. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low = Number.NaN, high = Number.NaN] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return (low + high) / 2;
}

/** Arithmetic mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
