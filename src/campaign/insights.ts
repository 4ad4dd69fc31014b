import * as z from 'zod';
import { InputError, NotFoundError } from '../base/errors.ts';
import { readJson } from '../base/json.ts';
import type { Db, Trx } from '../store/database.ts';
import type { NotePlace } from './hypotheses.ts';

/** What somebody concluded from experiments with one script. */
export interface Insight {
  /** `i` and a number: what a better one names it by. */
  readonly id: string;
  readonly text: string;
  /** Experiments that it rests on. */
  readonly evidence: readonly string[];
  /** How sure its author is, 0 to 1. */
  readonly confidence: number;
  readonly agent: string | null;
}

export interface NewInsight {
  readonly text: string;
  readonly evidence: readonly string[];
  readonly confidence?: number | undefined;
  /** Id of an earlier insight that this one corrects. */
  readonly supersedes?: string | undefined;
}

const DEFAULT_CONFIDENCE = 0.5;
const REFERENCE = /^i(\d{1,15})$/;

/**
 * Keeps an insight; the one that it supersedes is shown no more. The same text about the same script is kept once.
 * @throws InputError when an experiment that it names does not exist; NotFoundError when what it supersedes does not
 */
export async function keepInsight(trx: Trx, place: NotePlace, insight: NewInsight, nowMs: number): Promise<void> {
  await assertEvidence(trx, insight);
  const older = insight.supersedes === undefined ? null : await findInsight(trx, place.rootHash, insight.supersedes);
  const row = await trx
    .insertInto('insights')
    .values({
      root_hash: place.rootHash,
      loop_id: place.loopId,
      text: insight.text,
      evidence: JSON.stringify([...new Set(insight.evidence)]),
      confidence: insight.confidence ?? DEFAULT_CONFIDENCE,
      superseded_by: null,
      agent: place.agent,
      created_at: nowMs,
    })
    .onConflict((conflict) =>
      conflict.columns(['root_hash', 'text']).doUpdateSet((eb) => ({
        evidence: eb.ref('excluded.evidence'),
        confidence: eb.ref('excluded.confidence'),
      })),
    )
    .returning('insight')
    .executeTakeFirstOrThrow();
  if (older === null || older === row.insight) return;
  await trx.updateTable('insights').set({ superseded_by: row.insight }).where('insight', '=', older).execute();
}

async function assertEvidence(trx: Trx, { text, evidence }: NewInsight): Promise<void> {
  const known = await trx
    .selectFrom('experiments')
    .select('experiment_id')
    .where('experiment_id', 'in', evidence)
    .execute();
  const missing = evidence.find((id) => !known.some(({ experiment_id }) => experiment_id === id));
  if (missing === undefined) return;
  throw new InputError(
    'unknown_evidence',
    `The insight ${JSON.stringify(text.slice(0, 60))} rests on ${JSON.stringify(missing.slice(0, 60))}, which is no experiment of this store. Nothing was done.`,
    'Name experiment ids as results and think show them.',
  );
}

async function findInsight(trx: Trx, rootHash: string, named: string): Promise<number> {
  const id = REFERENCE.exec(named)?.[1];
  const row =
    id === undefined
      ? undefined
      : await trx
          .selectFrom('insights')
          .select('insight')
          .where('insight', '=', Number(id))
          .where('root_hash', '=', rootHash)
          .executeTakeFirst();
  if (row) return row.insight;
  throw new NotFoundError('insight', named, 'Use an id that think lists. Nothing was done.');
}

/** Insights about a script that nothing has superseded, newest first. */
export async function loadInsights(db: Db, rootHash: string, limit: number): Promise<Insight[]> {
  const rows = await db
    .selectFrom('insights')
    .selectAll()
    .where('root_hash', '=', rootHash)
    .where('superseded_by', 'is', null)
    .orderBy('created_at', 'desc')
    .orderBy('insight', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    id: `i${row.insight}`,
    text: row.text,
    evidence: readJson(z.array(z.string()), row.evidence),
    confidence: row.confidence,
    agent: row.agent,
  }));
}
