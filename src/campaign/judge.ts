import type { Judgement, Verdict } from '../experiment/experiment.ts';
import type { Task } from '../experiment/task-schema.ts';
import type { RunResult } from '../worker/result.ts';
import { compareScores, type Score } from './compare.ts';
import { type Evidence, isSameData, mean, type ScoredRun } from './evidence.ts';
import { type Noise, splitRepeats } from './noise.ts';
import { isIndependent, type Party } from './party.ts';
import { findImplausible } from './plausibility.ts';
import { findSlowness } from './tier.ts';

/** A finished run that others are compared with. */
export interface Reference {
  readonly experimentId: string;
  /** Mean of its runs. */
  readonly valBpb: number;
  /** Runs that the mean is of. */
  readonly runs: number;
  readonly sourceLines: number;
  /** Whether an independent worker confirmed it. */
  readonly verified?: boolean;
}

/** The champion as a judge needs it. */
export interface Champion extends Reference {
  readonly verified: boolean;
  readonly trainHash: string;
  readonly variantHash: string;
  readonly family: string;
  /** The runs that its estimate is made of. */
  readonly evidence: readonly ScoredRun[];
}

/** Everything that a verdict depends on. */
export interface JudgeFacts {
  readonly task: Task;
  readonly run: RunResult;
  readonly worker: Party;
  readonly evidence: Evidence;
  readonly trainHash: string;
  readonly variantHash: string;
  readonly wallSeconds: number | null;
  readonly tokensPerStep: number | null;
  readonly sourceLines: number;
  /** Scored runs of the lineage before this one. */
  readonly runs: readonly ScoredRun[];
  /** Those of them that count together with this one: earlier runs of the same idea under the same conditions. */
  readonly earlier: readonly Score[];
  /** Whether this run asks again about an idea that another run found: that one does not count then. */
  readonly isFresh: boolean;
  /** That other run. */
  readonly found?: Score | undefined;
  readonly noise: Noise;
  /** Null for the first run of a lineage. */
  readonly champion: Champion | null;
}

/** From here on a difference is no noise (field.md section 4, rule 3). */
export const KEEP_Z = 3;
/** Below this a difference is noise. */
export const RETEST_Z = 1;
/** What fresh runs alone have to show of a would-be champion (field.md section 4, rule 4). */
export const CONFIRM_Z = 2;

/**
 * Judges one run against the champion of its lineage (field.md section 4). Crashes and invalid results are verdicts of
 * their own, never scores. A KEEP is provisional until fresh runs elsewhere confirm it.
 */
export function judgeRun(facts: JudgeFacts): Judgement {
  const { run, champion, evidence, task } = facts;
  const plain = (verdict: Verdict, because: string): Judgement => ({
    verdict,
    because,
    championId: champion?.experimentId ?? null,
    delta: null,
    sigma: null,
    z: null,
  });
  if (run.status === 'failed') return plain('FAILED', 'the script ended with an error');
  if (run.status === 'timeout') return plain('FAILED', 'the script was stopped at the time limit');
  if (run.valBpb === null) return plain('INVALID', 'the answer holds no val_bpb that counts');
  const { min, max } = task.plausible;
  if (run.valBpb < min || run.valBpb > max)
    return plain('INVALID', `val_bpb ${run.valBpb} is outside the plausible range ${min} to ${max}`);
  const invalid = findInvalid(facts);
  if (invalid !== null) return plain('INVALID', invalid);
  const implausible = findImplausible(facts);
  if (implausible !== null) return plain('SUSPECT', implausible);
  if (!champion) return plain('BASELINE', 'first run of this script: what follows is compared with it');
  const isAgain = evidence.family === champion.family;
  const peers = champion.evidence.filter(({ tier }) => tier === evidence.tier);
  if (peers.length === 0 && isAgain) return plain('DISCARD', `the champion itself, run on tier "${evidence.tier}"`);
  if (peers.length === 0)
    return plain('RETEST', `the champion has no run on tier "${evidence.tier}": scores of tiers are not compared`);
  return compareWithChampion(facts, champion, peers, run.valBpb);
}

/** Why a score is about something else than the others of its lineage. */
function findInvalid({ champion, evidence, runs, variantHash }: JudgeFacts): string | null {
  const other = champion?.evidence.find((run) => !isSameData(run, evidence));
  if (other)
    return `it read other data (data_sha256 ${evidence.dataHash?.slice(0, 16)}) than the champion (${other.dataHash?.slice(0, 16)}): their scores are not compared`;
  const usual = findSlowness({ ...evidence, variantHash }, runs);
  if (usual === null) return null;
  return `the worker was slow: ${evidence.steps} steps, others made ${usual} with the same program`;
}

function compareWithChampion(
  facts: JudgeFacts,
  champion: Champion,
  peers: readonly ScoredRun[],
  valBpb: number,
): Judgement {
  const { noise, task, evidence, earlier, isFresh, sourceLines } = facts;
  const own = [...earlier, { seed: evidence.seed, valBpb }];
  const { delta, sigma, z, pairs } = compareScores(own, peers, noise, task.noisePrior);
  const numbers = { championId: champion.experimentId, delta, sigma, z };
  const rule = (verdict: Verdict, because: string): Judgement => ({ verdict, because, ...numbers });
  const base =
    pairs > 0
      ? `${pairs} paired seeds, σ ${sigma.toFixed(4)} of their differences`
      : `noise σ ${sigma.toFixed(4)}, ${own.length} against ${peers.length} run${peers.length === 1 ? '' : 's'}`;
  const compared = `Δ ${formatDelta(delta)}, z ${z.toFixed(1)} (${base})`;
  if (evidence.family === champion.family) return rule('DISCARD', `${compared}: the champion itself, run again`);
  const gain = mean(peers.map((peer) => peer.valBpb)) - valBpb;
  if (gain > task.maxGain && !isReproduced(facts, valBpb))
    return rule('SUSPECT', `${compared}: a gain of more than ${task.maxGain} in one step; to be run again elsewhere`);
  if (isFresh && z >= CONFIRM_Z) return rule('KEEP', `${compared}: shown by fresh runs alone`);
  const all = facts.found && compareScores([facts.found, ...own], peers, noise, task.noisePrior);
  if (all && z >= RETEST_Z && all.z >= KEEP_Z)
    return rule('KEEP', `${compared}, z ${all.z.toFixed(1)} with the run that found it; provisional until confirmed`);
  if (z >= KEEP_Z) return rule('KEEP', `${compared}; provisional until confirmed elsewhere`);
  if (z >= RETEST_Z) return rule('RETEST', `${compared}: too close to call`);
  if (z >= -RETEST_Z && sourceLines < champion.sourceLines)
    return rule('KEEP-SIMPLER', `${compared}, with fewer lines; provisional until confirmed elsewhere`);
  return rule('DISCARD', `${compared}: not better`);
}

/** Whether somebody else got the same from the same program: then it is news and no mistake. */
function isReproduced({ runs, variantHash, worker, noise, evidence }: JudgeFacts, valBpb: number): boolean {
  const same = runs.filter((run) => run.variantHash === variantHash && run.verdict !== 'INVALID');
  const others = same.filter((run) => isIndependent(run, worker));
  return others.some((other) => {
    const me: ScoredRun = { ...other, ...evidence, endpoint: worker.endpoint, valBpb };
    return splitRepeats([other, me], noise.repeat).odd.length === 0;
  });
}

function formatDelta(delta: number): string {
  return `${delta < 0 ? '−' : '+'}${Math.abs(delta).toFixed(4)}`;
}
