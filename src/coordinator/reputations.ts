import { formatAgentId, parseWorkerId } from '../discovery/agent-identity.ts';
import type { KnownReputation } from '../discovery/reputation-book.ts';
import type { Score } from '../discovery/reputation-score.ts';
import type { Worker } from '../discovery/worker.ts';
import type { Services } from './services.ts';

/** One kind of feedback as it is shown: `score` from 0 to 100, `count`, `reviewers`, and what else is known. */
export type ScoreView = Record<string, number>;

/**
 * Feedback by weight, the weightiest first: `trusted`, `paid`, `others`; what is missing does not stand. Our own record
 * comes before all of it and is a field of its own.
 */
export type ReputationView = Record<string, ScoreView>;

/**
 * Loads what is known of the reputation of workers, by worker id, and has the rest read in the background.
 * @param waitMs how long to wait for that, milliseconds; 0: not at all
 */
export async function loadReputations(
  { reputations, log }: Services,
  workers: readonly Worker[],
  waitMs: number,
): Promise<Map<string, KnownReputation>> {
  const agents = workers.flatMap(({ workerId, hiddenReason }) => {
    const agent = hiddenReason === undefined ? parseWorkerId(workerId) : null;
    return agent ? [agent] : [];
  });
  const refreshed = reputations
    .refresh(agents, waitMs)
    .catch((error: unknown) => log.warn({ error }, 'reputations could not be read'));
  if (waitMs > 0) await refreshed;
  const known = new Map<string, KnownReputation>();
  for (const agent of agents) {
    const reputation = await reputations.peek(agent);
    if (reputation) known.set(formatAgentId(agent), reputation);
  }
  return known;
}

/** Nothing when nobody has rated the worker: what is not there has no score, not even 0. */
export function viewReputation(known: KnownReputation | undefined): { reputation?: ReputationView } {
  const weights = Object.entries(known?.reputation ?? {});
  const scores = weights.flatMap(([weight, score]) => (score === null ? [] : [[weight, viewScore(score)] as const]));
  return scores.length === 0 ? {} : { reputation: Object.fromEntries(scores) };
}

/** The same with how long ago each was read, as `age_s` in seconds. */
export function viewDatedReputation(known: KnownReputation | undefined): { reputation?: ReputationView } {
  const { reputation } = viewReputation(known);
  if (!reputation || !known) return {};
  const dated = Object.entries(reputation).map(
    ([weight, score]) => [weight, { ...score, age_s: known.ageSeconds }] as const,
  );
  return { reputation: Object.fromEntries(dated) };
}

function viewScore({ score, count, reviewers, successRate, responseTimeMs }: Score): ScoreView {
  return {
    score,
    count,
    reviewers,
    ...(successRate === undefined ? {} : { success_rate: successRate }),
    ...(responseTimeMs === undefined ? {} : { response_ms: responseTimeMs }),
  };
}
