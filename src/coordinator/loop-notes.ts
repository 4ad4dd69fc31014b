import { cleanUntrusted } from '../base/untrusted.ts';
import { keepHypothesis, type NotePlace, resolveHypothesis, retireHypothesis } from '../campaign/hypotheses.ts';
import { keepInsight, type NewInsight } from '../campaign/insights.ts';
import { requireLoop } from '../campaign/loop.ts';
import type { Trx } from '../store/database.ts';
import type { Proposal, RunnableProposal } from './loops.ts';
import type { Services } from './services.ts';

/** A proposal as it comes in: without a change it is an idea for later. */
export interface NotedProposal extends Proposal {
  /** 1 comes first, 5 last; 0 drops the idea. */
  readonly priority?: number | undefined;
}

const MAX_TEXT_CHARS = 1_000;

/**
 * Keeps ideas and insights, all or none, before anything is queued.
 * @returns the proposals that are to be run
 * @throws InputError, NotFoundError; nothing is kept then
 */
export async function takeNotes(
  { db, clock }: Services,
  loopId: string,
  proposals: readonly NotedProposal[],
  insights: readonly NewInsight[],
): Promise<RunnableProposal[]> {
  const loop = await requireLoop(db, loopId);
  const place = { loopId, rootHash: loop.rootHash, agent: loop.settings.agent };
  const nowMs = clock.nowMs();
  return db.transaction().execute(async (trx) => {
    for (const insight of insights) await keepInsight(trx, place, { ...insight, text: tidy(insight.text) }, nowMs);
    const runnable: RunnableProposal[] = [];
    for (const [index, proposal] of proposals.entries()) {
      const hypothesis = await keepIdea(trx, place, proposal, nowMs);
      const { priority: _noted, ...rest } = proposal;
      if (!isIdeaAlone(proposal)) runnable.push({ number: index + 1, proposal: { ...rest, hypothesis } });
    }
    return runnable;
  });
}

async function keepIdea(
  trx: Trx,
  place: NotePlace,
  { hypothesis, priority }: NotedProposal,
  nowMs: number,
): Promise<string | undefined> {
  if (hypothesis === undefined) return undefined;
  const text = await resolveHypothesis(trx, place.rootHash, tidy(hypothesis));
  if (priority === 0) await retireHypothesis(trx, place.rootHash, text);
  else await keepHypothesis(trx, place, { text, priority: priority ?? null }, nowMs);
  return text;
}

/** One line without what a reader does not see: it comes back in texts that other agents read. */
function tidy(text: string): string {
  return cleanUntrusted(text, MAX_TEXT_CHARS) ?? '';
}

function isIdeaAlone({ base, edits, train_py, config, hypothesis }: NotedProposal): boolean {
  return hypothesis !== undefined && [base, edits, train_py, config].every((part) => part === undefined);
}
