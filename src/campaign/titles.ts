import type { Db, Trx } from '../store/database.ts';

/** One entry in the history of champions; the newest of a scope is in force. */
export interface Title {
  readonly scope: string;
  /** From 1, without gaps. */
  readonly seq: number;
  readonly rootHash: string;
  /** The run that made the variant a champion. */
  readonly experimentId: string;
  readonly variantHash: string;
  readonly verified: boolean;
  readonly cause: TitleCause;
  readonly createdAtMs: number;
}

/**
 * Why a title changed hands: the first run of a script; a gain that fresh runs confirmed; one that nobody else could
 * confirm; confirmation of the holder; later evidence against the holder, which gives the title back.
 */
export type TitleCause = 'baseline' | 'confirmed' | 'unconfirmed' | 'verified' | 'rolled_back';

/** What becomes of a title. */
export type TitleChange = Pick<Title, 'experimentId' | 'variantHash' | 'verified' | 'cause'>;

const CAUSES: readonly TitleCause[] = ['baseline', 'confirmed', 'unconfirmed', 'verified', 'rolled_back'];

/** Where a run's title is held: in its loop, or in its lineage. */
export function scopeOf(run: { readonly loopId: string | null; readonly rootHash: string }): string {
  return run.loopId ?? run.rootHash;
}

/** Titles of one scope, or of all scopes of a lineage, oldest first. */
export async function loadTitles(db: Db | Trx, filter: { scope: string } | { rootHash: string }): Promise<Title[]> {
  const query = db.selectFrom('titles').selectAll();
  const rows = await ('scope' in filter
    ? query.where('scope', '=', filter.scope)
    : query.where('root_hash', '=', filter.rootHash)
  )
    .orderBy('created_at')
    .orderBy('seq')
    .execute();
  return rows.map((row) => ({
    scope: row.scope,
    seq: row.seq,
    rootHash: row.root_hash,
    experimentId: row.experiment_id,
    variantHash: row.variant_hash,
    verified: row.verified === 1,
    cause: CAUSES.find((cause) => cause === row.cause) ?? 'unconfirmed',
    createdAtMs: row.created_at,
  }));
}

/**
 * Passes a title on, if it is still as it was when that was decided.
 * @param expectedSeq number of the entry that the decision was based on; 0: none
 * @returns false when somebody else was first; nothing is written then
 */
export async function passTitle(
  trx: Trx,
  place: { readonly scope: string; readonly rootHash: string },
  expectedSeq: number,
  change: TitleChange,
  nowMs: number,
): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await trx
    .insertInto('titles')
    .values({
      scope: place.scope,
      seq: expectedSeq + 1,
      root_hash: place.rootHash,
      experiment_id: change.experimentId,
      variant_hash: change.variantHash,
      verified: change.verified ? 1 : 0,
      cause: change.cause,
      created_at: nowMs,
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}
