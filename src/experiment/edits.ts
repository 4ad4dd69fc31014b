import { InputError } from '../base/errors.ts';
import { describeNearest } from './nearest-lines.ts';
import { applyDiff } from './unified-diff.ts';

/** One change of a source: a text that occurs in it exactly once, byte for byte, with its replacement; or a unified diff. */
export interface Edit {
  readonly search?: string | undefined;
  readonly replace?: string | undefined;
  readonly diff?: string | undefined;
}

/**
 * Applies edits one after the other; each sees what the ones before it made.
 * @throws InputError `edit_no_match`, `edit_ambiguous` or `bad_edit`, naming the edit and the nearest lines
 */
export function applyEdits(source: string, edits: readonly Edit[]): string {
  return edits.reduce((text, edit, index) => applyEdit(text, edit, index + 1), source);
}

function applyEdit(text: string, { search, replace, diff }: Edit, number: number): string {
  if (diff !== undefined && search === undefined && replace === undefined) return applyDiff(text, diff, number);
  if (search !== undefined && replace !== undefined && diff === undefined)
    return replaceOnce(text, { search, replace }, number);
  throw new InputError(
    'bad_edit',
    `Edit ${number} is neither search with replace nor a diff alone. Nothing was submitted.`,
    'Give each edit a search and a replace text, or a diff.',
  );
}

function replaceOnce(text: string, edit: { search: string; replace: string }, number: number): string {
  const first = text.indexOf(edit.search);
  if (edit.search === '' || first < 0) {
    throw new InputError(
      'edit_no_match',
      `Edit ${number} does not match. ${describeNearest(text, edit.search)} Nothing was submitted.`,
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
