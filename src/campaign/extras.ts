import type { Experiment } from '../experiment/experiment.ts';
import type { ScoredRun } from './evidence.ts';
import { planAudits, planCanaries, planPanel, planSettlements } from './extra-audits.ts';
import { type Extra, type ExtraFacts, isAlone, isExtraRun, isOpen } from './extra-facts.ts';
import { planConfirmations, planReferences, planRetests } from './extra-titles.ts';

/** Beyond the rounds: so many extra runs at most, whatever workers say; what nobody took is none. */
const SPARE_EXTRAS = 3;

/**
 * Plans what is to be run again, most urgent first: would-be champions on another party's worker, scores too close to
 * call, contradictions, and the share of results that is audited. From the runs alone, so that any process comes to
 * the same plan after a crash.
 */
export function planExtras(facts: ExtraFacts): Extra[] {
  const done = facts.experiments.filter((run) => isExtraRun(run) && run.state !== 'refused').length;
  const planned = [
    ...planConfirmations(facts),
    ...planReferences(facts),
    ...planRetests(facts),
    ...planSettlements(facts),
  ];
  const audits = facts.auditShare > 0 ? [...planPanel(facts), ...planAudits(facts), ...planCanaries(facts)] : [];
  return [...planned, ...audits].slice(0, Math.max(0, facts.rounds + SPARE_EXTRAS - done));
}

/** Runs for whose confirmation, or for another one, no further party was found. */
export function listAlone(experiments: readonly Experiment[]): Set<string> {
  const alone = experiments.filter((run) => run.role === 'confirmation' && isAlone(run));
  return new Set(alone.flatMap(({ auditOf }) => auditOf ?? []));
}

/** Runs that selected a variant which nobody else can confirm, be it on another worker or with another seed. */
export function findUnconfirmable(experiments: readonly Experiment[], runs: readonly ScoredRun[]): Set<string> {
  return new Set(
    [...listAlone(experiments)].flatMap((auditOf) => {
      const run = runs.find(({ experimentId }) => experimentId === auditOf);
      if (!run) return [];
      const tries = experiments.filter((other) => other.auditOf === auditOf && other.role === 'confirmation');
      const isOver = !tries.some(isOpen) && (run.seed === null || tries.length > 1);
      return isOver ? [run.experimentId] : [];
    }),
  );
}
