import { InputError, NotFoundError } from '../base/errors.ts';
import type { Db, Trx } from '../store/database.ts';

/**
 * Where an idea stands: nobody is at it; an experiment with it is on its way; one has given a verdict; nobody shall try
 * it any more. All but the last follow from the experiments that carry its text.
 */
export type HypothesisState = 'proposed' | 'claimed' | 'tested' | 'retired';

/** An idea about one script, whoever had it in whichever loop. */
export interface Hypothesis {
  /** `h` and a number: what proposals name it by. */
  readonly id: string;
  readonly text: string;
  /** 1 comes first, 5 last. */
  readonly priority: number;
  readonly state: HypothesisState;
  /** The newest experiment about it. */
  readonly experimentId: string | null;
  readonly verdict: string | null;
  readonly agent: string | null;
  readonly createdAtMs: number;
}

/** Whose notes they are. */
export interface NotePlace {
  readonly loopId: string;
  readonly rootHash: string;
  readonly agent: string | null;
}

export const DEFAULT_PRIORITY = 3;
/** More ideas than anybody tries; beyond it they only hide each other. */
const MAX_OPEN = 500;
const REFERENCE = /^h(\d{1,15})$/;

/**
 * Keeps an idea; one with the same text is the same idea, whose priority changes if another is given.
 * @param priority null: as it is, or 3
 * @throws InputError when there are too many open ones
 */
export async function keepHypothesis(
  trx: Trx,
  place: NotePlace,
  idea: { readonly text: string; readonly priority: number | null },
  nowMs: number,
): Promise<void> {
  const { count } = await trx
    .selectFrom('hypotheses')
    .where('root_hash', '=', place.rootHash)
    .where('retired', '=', 0)
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  if (count >= MAX_OPEN)
    throw new InputError(
      'too_many_hypotheses',
      `${count} hypotheses about this script are open, at most ${MAX_OPEN} are kept. Nothing was done.`,
      'Drop some: run_loop continue with proposals [{"hypothesis": "h1", "priority": 0}].',
    );
  await trx
    .insertInto('hypotheses')
    .values({
      root_hash: place.rootHash,
      loop_id: place.loopId,
      text: idea.text,
      priority: idea.priority ?? DEFAULT_PRIORITY,
      retired: 0,
      agent: place.agent,
      created_at: nowMs,
    })
    .onConflict((conflict) =>
      idea.priority === null
        ? conflict.columns(['root_hash', 'text']).doNothing()
        : conflict.columns(['root_hash', 'text']).doUpdateSet({ priority: idea.priority, retired: 0 }),
    )
    .execute();
}

/** Drops an idea: it is shown no more and may be had again. */
export async function retireHypothesis(trx: Trx, rootHash: string, text: string): Promise<void> {
  await trx
    .updateTable('hypotheses')
    .set({ retired: 1 })
    .where('root_hash', '=', rootHash)
    .where('text', '=', text)
    .execute();
}

/** The text of an idea that is named by its id; any other text is itself. @throws NotFoundError */
export async function resolveHypothesis(db: Db | Trx, rootHash: string, named: string): Promise<string> {
  const id = REFERENCE.exec(named)?.[1];
  if (id === undefined) return named;
  const row = await db
    .selectFrom('hypotheses')
    .select('text')
    .where('hypothesis', '=', Number(id))
    .where('root_hash', '=', rootHash)
    .executeTakeFirst();
  if (row) return row.text;
  throw new NotFoundError('hypothesis', named, 'Use an id that think lists, or write the idea out. Nothing was done.');
}

/** Ideas about a script that are not retired, by priority, then age. @param limit of each read */
export async function loadHypotheses(db: Db, rootHash: string, limit: number): Promise<Hypothesis[]> {
  const rows = await db
    .selectFrom('hypotheses')
    .selectAll()
    .where('root_hash', '=', rootHash)
    .where('retired', '=', 0)
    .orderBy('priority')
    .orderBy('created_at')
    .orderBy('hypothesis')
    .limit(limit)
    .execute();
  const tests = await loadTests(
    db,
    rootHash,
    rows.map(({ text }) => text),
  );
  return rows.map((row): Hypothesis => {
    const test = tests.get(row.text);
    return {
      id: `h${row.hypothesis}`,
      text: row.text,
      priority: row.priority,
      state: test === undefined ? 'proposed' : test.verdict === null ? 'claimed' : 'tested',
      experimentId: test?.experimentId ?? null,
      verdict: test?.verdict ?? null,
      agent: row.agent,
      createdAtMs: row.created_at,
    };
  });
}

/** The newest experiment of each text; one that ended without a verdict has tested nothing. */
async function loadTests(db: Db, rootHash: string, texts: readonly string[]) {
  if (texts.length === 0) return new Map<string, { experimentId: string; verdict: string | null }>();
  const rows = await db
    .selectFrom('experiments')
    .select(['experiment_id', 'hypothesis', 'verdict', 'finished_at'])
    .where('root_hash', '=', rootHash)
    .where('hypothesis', 'in', texts)
    .orderBy('created_at', 'desc')
    .limit(10 * texts.length)
    .execute();
  const tests = new Map<string, { experimentId: string; verdict: string | null }>();
  for (const { experiment_id: experimentId, hypothesis, verdict, finished_at } of rows) {
    if (hypothesis === null || tests.has(hypothesis) || (verdict === null && finished_at !== null)) continue;
    tests.set(hypothesis, { experimentId, verdict });
  }
  return tests;
}
