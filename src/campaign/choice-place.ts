import type { Experiment } from '../experiment/experiment.ts';
import type { ChoiceFacts } from './choice-facts.ts';
import type { ScoredRun } from './evidence.ts';
import { findHomeTier } from './family.ts';
import type { Champion } from './judge.ts';

/** What is known of a lineage when a worker is chosen for one of its runs. */
export interface PlaceFacts {
  /** Scored runs of the lineage, oldest first. */
  readonly runs: readonly ScoredRun[];
  readonly champion: Champion | null;
  /** Owners of registrations by endpoint. */
  readonly owners: ReadonlyMap<string | null, string | null>;
  /** Endpoint that the loop would like best. */
  readonly prefer: string | null;
}

/** Where a run belongs: on which tier, and with whom or with whom not. */
export function findPlace(
  { role, auditOf, variantHash }: Pick<Experiment, 'role' | 'auditOf' | 'variantHash'>,
  { runs, champion, owners, prefer }: PlaceFacts,
): Pick<ChoiceFacts, 'tiers' | 'wantedTier' | 'parties' | 'preferred' | 'isComparison'> {
  const of = runs.find(({ experimentId }) => experimentId === auditOf);
  const isSame = role === 'retest' && of?.variantHash === variantHash && of.family !== champion?.family;
  const isRepeat = role === 'confirmation' || role === 'audit' || isSame;
  // Who ran the idea with any seed has said what it says of it; an audit is about one program.
  const ran = runs.filter((run) =>
    role === 'confirmation' && of ? run.family === of.family : isRepeat && run.variantHash === variantHash,
  );
  const evidence = champion?.evidence ?? [];
  const isMet = evidence.some(({ tier }) => tier === of?.tier);
  const wantedTier = (isRepeat || (role === 'retest' && isMet) ? of?.tier : undefined) ?? findHomeTier(evidence, runs);
  const peer = evidence.find(({ tier }) => tier === wantedTier);
  // Scores too close to call are asked for where the champion ran, but for those that the same worker gave.
  const beside = role === 'retest' && peer?.endpoint !== of?.endpoint ? peer?.endpoint : undefined;
  return {
    tiers: new Map(runs.map(({ endpoint, tier }) => [endpoint, tier])),
    wantedTier,
    parties: ran.map(({ endpoint, payTo }) => ({ endpoint, payTo, owner: owners.get(endpoint) ?? null })),
    preferred: beside ?? prefer,
    isComparison: isRepeat || role === 'retest',
  };
}
