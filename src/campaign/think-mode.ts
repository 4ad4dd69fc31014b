import type { ChangeRun } from './think-facts.ts';

/** What kind of experiment is worth most now. */
export interface ThinkMode {
  readonly mode: 'baseline' | 'explore' | 'radical' | 'exploit' | 'combine' | 'ablate' | 'confirm';
  readonly why: string;
  /** Rounds since the last one that was kept. */
  readonly stagnation: number;
}

export interface ModeFacts {
  /** Judged runs, newest first. */
  readonly changes: readonly ChangeRun[];
  readonly champion: { readonly isBaseline: boolean; readonly isVerified: boolean } | null;
}

/** Discards in a row after which the neighbourhood is used up, and those after which small steps are (field.md section 6). */
const EXPLORE_AFTER = 8;
const RADICAL_AFTER = 20;
/** A gain is followed while it is fresh. */
const EXPLOIT_WITHIN = 3;
/** So many kept changes carry something that does nothing by itself. */
const ABLATE_FROM = 5;

/** Decides what the next wave should be, from counters alone. */
export function chooseMode({ changes, champion }: ModeFacts): ThinkMode {
  const rounds = changes.filter(({ role, verdict }) => role === 'round' && verdict !== null);
  const isKept = ({ verdict }: ChangeRun) => verdict === 'KEEP' || verdict === 'KEEP-SIMPLER';
  const last = rounds.findIndex(isKept);
  const stagnation = last === -1 ? rounds.length : last;
  const since = rounds.slice(0, stagnation);
  const kept = rounds.filter(isKept).length;
  const close = since.filter(({ verdict }) => verdict === 'RETEST').length;
  const say = (mode: ThinkMode['mode'], why: string): ThinkMode => ({ mode, why, stagnation });
  if (!champion) return say('baseline', 'The unchanged script comes first; nothing can be compared before.');
  if (stagnation >= RADICAL_AFTER)
    return say(
      'radical',
      `${stagnation} rounds improved nothing: change the structure, not a number, or stop the loop.`,
    );
  if (stagnation >= EXPLORE_AFTER)
    return say('explore', `${stagnation} rounds improved nothing: leave this neighbourhood, try what nobody touched.`);
  if (close >= 2) return say('combine', `${close} changes came close on their own: try them together.`);
  if (last !== -1 && stagnation < EXPLOIT_WITHIN) {
    const isOpen = !champion.isBaseline && !champion.isVerified;
    return isOpen
      ? say('confirm', 'The champion is not confirmed yet; the server repeats it. Meanwhile stay close to it.')
      : say('exploit', 'A change has just helped: go further in its direction, and look beside it.');
  }
  if (kept >= ABLATE_FROM)
    return say('ablate', `${kept} changes were kept: take single ones back and see which carry the gain.`);
  return kept === 0
    ? say('explore', 'Nothing was kept yet: test many knobs, one at a time, in both directions.')
    : say('exploit', 'Work around the champion before you leave it.');
}
