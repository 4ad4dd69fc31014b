import type { Experiment, Reason } from '../experiment/experiment.ts';
import type { Loop } from './loop.ts';

/** So many rounds in a row that improved nothing end a loop: late in a run one experiment in 68 does. */
export const MAX_STAGNATION = 20;

/** What the rules look at besides the runs. */
export interface StopFacts {
  readonly nowMs: number;
  /** Score of the champion; null before the first. */
  readonly championValBpb: number | null;
}

/**
 * Why a loop starts nothing new although rounds and money are left: its target is reached by a champion, its deadline
 * has passed, or nothing helps any more. Null: it goes on.
 */
export function findStop({ settings }: Loop, runs: readonly Experiment[], facts: StopFacts): Reason | null {
  const { targetValBpb, deadlineMs } = settings;
  const { championValBpb, nowMs } = facts;
  if (targetValBpb !== null && championValBpb !== null && championValBpb <= targetValBpb) {
    return {
      code: 'target_reached',
      text: `The champion's val_bpb of ${championValBpb} reaches the target of ${targetValBpb}.`,
      nextStep: 'See get_leaderboard, or start another loop from the champion.',
    };
  }
  if (deadlineMs !== null && nowMs >= deadlineMs) {
    return {
      code: 'deadline',
      text: 'The deadline of the loop has passed. What was running has ended and is paid as agreed.',
      nextStep: 'See get_leaderboard, or start another loop from the champion.',
    };
  }
  // A score that could not be compared with any says nothing yet.
  const isJudged = ({ judgement }: Experiment) => judgement?.verdict !== 'RETEST' || judgement.delta !== null;
  const rounds = runs.filter((run) => run.role === 'round' && run.valBpb !== null && isJudged(run));
  const isGain = ({ judgement }: Experiment) => judgement?.verdict.startsWith('KEEP') ?? false;
  // Asked again, a score that was too close to call may turn out to be a gain.
  const gains = new Set(runs.filter((run) => run.role === 'retest' && isGain(run)).map(({ auditOf }) => auditOf));
  const lastGain = rounds.findLastIndex((run) => isGain(run) || gains.has(run.experimentId));
  const idle = rounds.length - 1 - lastGain;
  // Those of a wave cannot learn from each other: two of them are the least that says something.
  if (idle < Math.max(MAX_STAGNATION, 2 * settings.parallel)) return null;
  return {
    code: 'stagnation',
    text: `The last ${idle} scored rounds improved nothing.`,
    nextStep: 'Start another loop from the champion with bolder ideas.',
  };
}
