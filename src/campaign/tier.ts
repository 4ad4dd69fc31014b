import { ANY_TIER, median, type ScoredRun } from './evidence.ts';

/** Names under which workers give the memory of their device, and gigabytes per unit. */
const MEMORY_NAMES: readonly (readonly [name: string, gigabytes: number])[] = [
  ['gpu_memory_gb', 1],
  ['vram_gb', 1],
  ['total_vram_gb', 1],
  ['gpu_memory_mb', 1 / 1024],
  ['vram_total_mb', 1 / 1024],
  ['total_vram_mb', 1 / 1024],
];
/** Upper bounds in GB, inclusive (field.md section 2). */
const TIERS = [
  ['small', 16],
  ['medium', 24],
  ['large', 48],
] as const;
/** Fewer shared programs say little about a machine. */
const MIN_SHARED = 2;
/** A run with fewer steps than this share of the others' was disturbed (field.md section 4, rule 5). */
const SLOW_SHARE = 0.8;

/**
 * Tier of the machine that gave a result: from its memory where the worker states it, and from how many steps the
 * worker made in earlier runs of programs that others ran, too. Factors are powers of two: less is the luck of a day.
 * @param runs scored runs of the lineage
 */
export function findTier(
  metrics: Readonly<Record<string, number | string>> | null,
  endpoint: string,
  runs: readonly ScoredRun[],
): string {
  const memory = findMemoryTier(metrics);
  // A larger machine is another tier already: only among equals a factor says more.
  const equals = runs.filter(({ tier }) => tier.split(' ')[0] === memory);
  const speed = findSpeed(endpoint, equals);
  return speed === 0 ? memory : `${memory} x${2 ** speed}`;
}

function findMemoryTier(metrics: Readonly<Record<string, number | string>> | null): string {
  for (const [name, unit] of MEMORY_NAMES) {
    const value = metrics?.[name];
    if (typeof value !== 'number' || value <= 0) continue;
    // A card of 24 GB reports a little more or less, depending on who counts.
    return TIERS.find(([, most]) => value * unit <= most * 1.05)?.[0] ?? 'xl';
  }
  return ANY_TIER;
}

/** How many times as fast a worker is as the others, as the power of two: 0 for about as fast, or unknown. */
function findSpeed(endpoint: string, runs: readonly ScoredRun[]): number {
  const ratios = runs.flatMap((run) => {
    if (run.endpoint !== endpoint || run.steps === null) return [];
    const others = stepsOf(
      runs.filter((other) => other.variantHash === run.variantHash && other.endpoint !== endpoint),
    );
    return others.length === 0 ? [] : [run.steps / median(others)];
  });
  if (ratios.length < MIN_SHARED) return 0;
  const speed = Math.round(Math.log2(median(ratios)));
  return Number.isFinite(speed) ? speed : 0;
}

/**
 * Whether a run made far fewer steps than others of the same program on its tier: it was disturbed, and its score says
 * nothing about the program.
 * @returns the usual number of steps; null when the run was not slow, or nobody knows
 */
export function findSlowness(
  run: { readonly variantHash: string; readonly tier: string; readonly steps: number | null },
  runs: readonly ScoredRun[],
): number | null {
  const others = stepsOf(runs.filter(({ variantHash, tier }) => variantHash === run.variantHash && tier === run.tier));
  if (run.steps === null || others.length === 0) return null;
  const usual = median(others);
  return run.steps < SLOW_SHARE * usual ? usual : null;
}

function stepsOf(runs: readonly ScoredRun[]): number[] {
  return runs.flatMap(({ steps }) => (steps === null ? [] : [steps]));
}
