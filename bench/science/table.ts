import * as z from 'zod';
import type { Outcome } from './outcome.ts';
import type { Comparison, Scenario } from './scenarios.ts';

const Tally = z.object({
  champions: z.number(),
  isFalse: z.number(),
  lies: z.number(),
  /** Mean true gain of the last champion, in units of effect. */
  gain: z.number(),
});
type Tally = z.infer<typeof Tally>;

/** What a scenario came to over all its campaigns. */
export const Summary = z.object({
  name: z.string(),
  isGoal: z.boolean(),
  campaigns: z.number(),
  runs: z.number(),
  audits: z.number(),
  ours: Tally,
  plain: Tally,
  kind: Tally,
  liars: z.object({ all: z.number(), used: z.number(), caught: z.number(), runsUntil: z.number(), lies: z.number() }),
  honest: z.object({ used: z.number(), caught: z.number() }),
});
export type Summary = z.infer<typeof Summary>;

/** A crash is worth nothing: as if the unchanged script had been kept. */
function tally(outcomes: readonly Outcome[]): Tally {
  const promotions = outcomes.flatMap((outcome) => outcome.promotions);
  const gains = outcomes.map(({ gain }) => (Number.isFinite(gain) ? gain : 0));
  return {
    champions: promotions.length,
    isFalse: promotions.filter(({ isFalse }) => isFalse).length,
    lies: promotions.filter(({ isLie }) => isLie).length,
    gain: gains.reduce((sum, gain) => sum + gain, 0) / gains.length,
  };
}

export function summarize({ name, isGoal }: Scenario, comparisons: readonly Comparison[]): Summary {
  const ours = comparisons.map((comparison) => comparison.ours);
  const trials = ours.flatMap((outcome) => outcome.trials).filter(({ runs }) => runs > 0);
  const liars = trials.filter(({ seller }) => seller.lie !== null);
  const caught = liars.flatMap(({ runsBeforeQuarantine }) => runsBeforeQuarantine ?? []);
  const honest = trials.filter(({ seller }) => seller.lie === null);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return {
    name,
    isGoal,
    campaigns: ours.length,
    runs: sum(ours.map(({ runs }) => runs)),
    audits: sum(ours.map(({ roles }) => (roles.get('audit') ?? 0) + (roles.get('canary') ?? 0))),
    ours: tally(ours),
    plain: tally(comparisons.map(({ plain }) => plain)),
    kind: tally(comparisons.map(({ kind }) => kind)),
    liars: {
      all: ours.flatMap((outcome) => outcome.trials).filter(({ seller }) => seller.lie !== null).length,
      used: liars.length,
      caught: caught.length,
      runsUntil: caught.length === 0 ? 0 : sum(caught) / caught.length,
      lies: sum(liars.map(({ lies }) => lies)),
    },
    honest: {
      used: honest.length,
      caught: honest.filter(({ runsBeforeQuarantine }) => runsBeforeQuarantine !== null).length,
    },
  };
}

/** One scenario as lines of text. */
export function formatSummary(summary: Summary): string {
  const { name, campaigns, runs, audits, liars, honest } = summary;
  const share = (part: number, all: number) => (all === 0 ? '–' : `${((100 * part) / all).toFixed(1)} %`);
  const row = (who: string, { champions, isFalse, lies, gain }: Tally) =>
    `  ${who.padEnd(28)} champions ${String(champions).padStart(4)}, false ${String(isFalse).padStart(3)} (${share(isFalse, champions)}), lies ${String(lies).padStart(3)}, mean true gain ${gain.toFixed(2)}`;
  const ratio = (other: Tally) =>
    other.gain > 0 ? `${(summary.ours.gain / other.gain).toFixed(2)} x` : 'no gain there';
  return [
    `${name}: ${campaigns} campaigns, ${(runs / campaigns).toFixed(1)} runs each, ${share(audits, runs)} of them audits`,
    row('ours', summary.ours),
    `${row('lower is better', summary.plain)}; ours ${ratio(summary.plain)}`,
    `${row('lower is better, own machine', summary.kind)}; ours ${ratio(summary.kind)}`,
    ...(liars.all > 0
      ? [
          `  ${liars.lies} lies of ${liars.used} liars that were used; ${liars.caught} of them quarantined, after ${liars.runsUntil.toFixed(1)} runs in the mean; ${honest.caught} of ${honest.used} honest workers, too`,
        ]
      : []),
    '',
  ].join('\n');
}
