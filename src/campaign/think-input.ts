import type { Task } from '../experiment/task-schema.ts';
import type { Hypothesis } from './hypotheses.ts';
import type { Insight } from './insights.ts';
import type { LoopHistory } from './think-facts.ts';

/** The champion as its designer needs it. */
export interface ThinkChampion {
  readonly experimentId: string;
  readonly trainHash: string;
  readonly description: string;
  /** Mean of its runs. */
  readonly score: number;
  readonly runs: number;
  readonly isVerified: boolean;
  readonly isBaseline: boolean;
  readonly tier: string | null;
  readonly config: Readonly<Record<string, unknown>>;
  readonly source: string;
}

/** An idea beside the champion. */
export interface ThinkProspect {
  readonly experimentId: string;
  readonly description: string;
  /** Expected gain without luck: over the champion, or for one that was missed over what it was made from. */
  readonly gain: number;
}

/** Everything that THINK tells the designer of the next experiments. */
export interface ThinkFacts {
  readonly loopId: string;
  readonly rootHash: string;
  readonly rootSource: string;
  readonly task: Task;
  readonly champion: ThinkChampion | null;
  readonly baselineScore: number | null;
  /** What is ahead of the champion and not confirmed yet, best first. */
  readonly leaders: readonly ThinkProspect[];
  /** What helped beside an earlier one and is not in what is built on now, best first. */
  readonly missed: readonly ThinkProspect[];
  /** Noise of one run between variants, in bits per byte. */
  readonly sigma: number;
  /** What the best would score by luck alone; null before the first score. */
  readonly luckLine: number | null;
  readonly history: LoopHistory;
  readonly hypotheses: readonly Hypothesis[];
  readonly insights: readonly Insight[];
  /** Descriptions of proposals that wait. */
  readonly queued: readonly string[];
  readonly rounds: number;
  readonly parallel: number;
  readonly spentAtomic: bigint;
  readonly remainingAtomic: bigint;
  readonly deadline: string | null;
  readonly targetScore: number | null;
  readonly focus: string | null;
}

/** How much of the parts that grow is shown: the first that fits is taken, so the oldest gives way first. */
export interface Detail {
  readonly keeps: number;
  readonly knobs: number;
  readonly ideas: number;
  readonly recent: number;
  readonly hasSource: boolean;
}
