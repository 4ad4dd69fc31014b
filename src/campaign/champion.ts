import type { Db } from '../store/database.ts';
import { estimateSigma, type Reference } from './judge.ts';

/** Verdicts whose run may be compared with. */
const HOLDS_TITLE = ['BASELINE', 'KEEP', 'KEEP-SIMPLER'];

/** The best judged run of a lineage: provisional, since one run is a draw of luck. */
export async function loadChampion(db: Db, rootHash: string, loopId: string | null): Promise<Reference | null> {
  let query = db
    .selectFrom('experiments')
    .innerJoin('sources', 'sources.train_hash', 'experiments.train_hash')
    .select(['experiments.experiment_id', 'experiments.variant_hash', 'experiments.val_bpb', 'sources.source'])
    .where('experiments.root_hash', '=', rootHash)
    .where('experiments.val_bpb', 'is not', null)
    .where('experiments.verdict', 'in', HOLDS_TITLE);
  if (loopId !== null) query = query.where('experiments.loop_id', '=', loopId);
  const row = await query.orderBy('experiments.val_bpb').orderBy('experiments.created_at').executeTakeFirst();
  if (row?.val_bpb == null) return null;
  const scores = await loadScores(db, rootHash, row.variant_hash);
  return {
    experimentId: row.experiment_id,
    valBpb: scores.reduce((sum, score) => sum + score, 0) / scores.length,
    runs: scores.length,
    sourceLines: countLines(row.source),
  };
}

/** Valid scores of one variant. */
export async function loadScores(db: Db, rootHash: string, variantHash: string): Promise<number[]> {
  const rows = await db
    .selectFrom('experiments')
    .select('val_bpb')
    .where('root_hash', '=', rootHash)
    .where('variant_hash', '=', variantHash)
    .where('verdict', 'not in', ['FAILED', 'INVALID', 'SUSPECT'])
    .execute();
  return rows.flatMap(({ val_bpb }) => (val_bpb === null ? [] : [val_bpb]));
}

/** Noise of one run of a lineage, from its repeats. */
export async function loadSigma(db: Db, rootHash: string): Promise<number> {
  const rows = await db
    .selectFrom('experiments')
    .select(['variant_hash', 'val_bpb'])
    .where('root_hash', '=', rootHash)
    .where('val_bpb', 'is not', null)
    .where('verdict', 'not in', ['FAILED', 'INVALID', 'SUSPECT'])
    .execute();
  const groups = new Map<string, number[]>();
  for (const { variant_hash, val_bpb } of rows) {
    if (val_bpb !== null) groups.set(variant_hash, [...(groups.get(variant_hash) ?? []), val_bpb]);
  }
  return estimateSigma([...groups.values()].filter((group) => group.length > 1));
}

/** Lines that hold code: what "simpler" is measured by. */
export function countLines(source: string): number {
  return source.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('#')).length;
}
