import { InputError } from '../base/errors.ts';

/** One change of a source: `search` must occur in it exactly once, byte for byte. */
export interface Edit {
  readonly search: string;
  readonly replace: string;
}

/**
 * Applies edits one after the other; each sees what the ones before it made.
 * @throws InputError `edit_no_match` or `edit_ambiguous`, naming the edit and the nearest lines
 */
export function applyEdits(source: string, edits: readonly Edit[]): string {
  return edits.reduce((text, edit, index) => applyEdit(text, edit, index + 1), source);
}

function applyEdit(text: string, edit: Edit, number: number): string {
  const first = text.indexOf(edit.search);
  if (edit.search === '' || first < 0) {
    throw new InputError(
      'edit_no_match',
      describeMiss(text, edit.search, number),
      'Copy the text to replace from the base as it is, with its white space, and send the edits again.',
    );
  }
  const second = text.indexOf(edit.search, first + 1);
  if (second >= 0) {
    throw new InputError(
      'edit_ambiguous',
      `Edit ${number} matches more than once, on lines ${lineOf(text, first)} and ${lineOf(text, second)}. Nothing was submitted.`,
      'Lengthen its search text by the lines around it until it is unique.',
    );
  }
  return text.slice(0, first) + edit.replace + text.slice(first + edit.search.length);
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

const SHOWN_LINES = 3;

function describeMiss(text: string, search: string, number: number): string {
  const wanted = search.split('\n').find((line) => line.trim() !== '') ?? '';
  const nearest = text
    .split('\n')
    .map((line, index) => ({ line, number: index + 1, score: similarity(line.trim(), wanted.trim()) }))
    .filter(({ score }) => score > 0.3)
    .sort((a, b) => b.score - a.score || a.number - b.number)
    .slice(0, SHOWN_LINES)
    .map((hit) => `line ${hit.number}: ${JSON.stringify(hit.line.slice(0, 120))}`);
  const hint = nearest.length > 0 ? ` Nearest in the base: ${nearest.join('; ')}.` : ' Nothing in the base is like it.';
  return `Edit ${number} does not match: ${JSON.stringify(wanted.slice(0, 120))} is not in the base.${hint} Nothing was submitted.`;
}

/** Share of common character pairs (Dice), 0 to 1. */
function similarity(a: string, b: string): number {
  const pairs = (text: string) => {
    const counts = new Map<string, number>();
    for (let index = 0; index < text.length - 1; index += 1) {
      const pair = text.slice(index, index + 2);
      counts.set(pair, (counts.get(pair) ?? 0) + 1);
    }
    return counts;
  };
  const left = pairs(a.slice(0, 300));
  const right = pairs(b.slice(0, 300));
  let common = 0;
  for (const [pair, count] of left) common += Math.min(count, right.get(pair) ?? 0);
  const total = Math.max(a.length - 1, 0) + Math.max(b.length - 1, 0);
  return total === 0 ? 0 : (2 * common) / total;
}
