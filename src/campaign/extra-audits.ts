import { isWouldBe } from './confirm.ts';
import { listProven } from './credit.ts';
import { doesCount, groupBy, mean, type ScoredRun } from './evidence.ts';
import {
  countWorkersWorth,
  type Extra,
  type ExtraFacts,
  findHolder,
  isAlone,
  isExtraRun,
  isOpen,
  repeatsOf,
} from './extra-facts.ts';
import { DOUBT_Z, estimateNoise, splitRepeats } from './noise.ts';

/** Of those whom nobody has confirmed yet more is audited than of others, so that the share holds over all. */
const AUDITS = { unproven: 3, proven: 0.5 } as const;
/** So many workers at most repeat the first run of a loop. */
const MAX_PANEL = 5;
/** Audits of one contradiction. */
const MAX_AUDITS = 3;

/** Where two workers contradict each other a third one decides. */
export function planSettlements(facts: ExtraFacts): Extra[] {
  const { repeat } = estimateNoise(facts.runs, facts.task.noisePrior);
  const told = facts.runs.filter((run) => doesCount(run) || run.verdict === 'SUSPECT');
  return groupBy(told, ({ variantHash, tier, dataHash }) => `${variantHash} ${tier} ${dataHash}`).flatMap(
    (group): Extra[] => {
      const first = group.find((run) => run.loopId === facts.loopId && !isExtraRun(run));
      if (!first || !isUnsettled(group, repeat)) return [];
      const tries = repeatsOf(facts, first.experimentId);
      const audits = tries.filter(({ role }) => role === 'audit').length;
      if (
        tries.some(isOpen) ||
        tries.some(isAlone) ||
        audits >= (first.verdict === 'BASELINE' ? MAX_PANEL : 0) + MAX_AUDITS
      )
        return [];
      const key = `settle-${first.experimentId}-${audits + 1}`;
      return [{ role: 'audit', of: first.experimentId, key, seed: null, worker: null }];
    },
  );
}

/** Whether workers contradict each other, or two alone are too far apart for one to confirm the other. */
function isUnsettled(group: readonly ScoredRun[], sigma: number): boolean {
  const scores = groupBy(group, ({ endpoint }) => endpoint).map((own) => mean(own.map(({ valBpb }) => valBpb)));
  const isDoubtful = scores.length === 2 && Math.max(...scores) - Math.min(...scores) > DOUBT_Z * Math.SQRT2 * sigma;
  return isDoubtful || splitRepeats(group, sigma).isOpen;
}

/**
 * The first run of a long loop again on several workers that are drawn by lot: it shows at once who can be believed, which
 * tiers there are and what the champion scores on each, and how much honest repeats differ.
 */
export function planPanel(facts: ExtraFacts): Extra[] {
  const first = facts.runs.find((run) => run.loopId === facts.loopId && run.verdict === 'BASELINE');
  const size = Math.min(MAX_PANEL, countWorkersWorth(facts));
  const tries = first ? repeatsOf(facts, first.experimentId, 'audit').length : 0;
  if (!first || tries > 0) return [];
  return Array.from({ length: size }, (_, index) => ({
    role: 'audit',
    of: first.experimentId,
    key: `panel-${first.experimentId}-${index + 1}`,
    seed: null,
    worker: null,
  }));
}

export function planAudits(facts: ExtraFacts): Extra[] {
  const holder = findHolder(facts);
  const proven = listProven(facts.runs, facts.task.noisePrior);
  return facts.runs.flatMap((run): Extra[] => {
    if (run.loopId !== facts.loopId || isExtraRun(run) || !doesCount(run) || isWouldBe(run, holder)) return [];
    const weight = proven.has(run.endpoint) ? AUDITS.proven : AUDITS.unproven;
    const isDrawn = facts.draw(run.experimentId) < (facts.auditShare < 1 ? weight * facts.auditShare : 1);
    if (!isDrawn || repeatsOf(facts, run.experimentId).length > 0) return [];
    return [{ role: 'audit', of: run.experimentId, key: `audit-${run.experimentId}`, seed: null, worker: null }];
  });
}

/** A worker on probation is given a program whose score two others agree on. */
export function planCanaries(facts: ExtraFacts): Extra[] {
  if (facts.probation.length === 0) return [];
  const { repeat } = estimateNoise(facts.runs, facts.task.noisePrior);
  const known = groupBy(facts.runs.filter(doesCount), ({ variantHash }) => variantHash)
    .map((group) => splitRepeats(group, repeat))
    .find(({ agreeing, isOpen: isDisputed }) => !isDisputed && new Set(agreeing.map((run) => run.endpoint)).size > 1);
  const [of] = known?.agreeing ?? [];
  if (!of) return [];
  return facts.probation.flatMap(({ endpoint, offences }): Extra[] => {
    if (facts.experiments.some((run) => run.role === 'canary' && run.workerRequest === endpoint)) return [];
    const key = `canary-${of.experimentId.slice(-16)}-${endpointKey(endpoint)}-${offences}`;
    return [{ role: 'canary', of: of.experimentId, key, seed: null, worker: endpoint }];
  });
}

function endpointKey(endpoint: string): string {
  return endpoint.replace(/[^A-Za-z0-9]+/g, '-').slice(-40);
}
