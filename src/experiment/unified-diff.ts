import { applyPatch, parsePatch, type StructuredPatch, type StructuredPatchHunk } from 'diff';
import { InputError } from '../base/errors.ts';
import { describeNearest } from './nearest-lines.ts';

const MAX_HUNKS = 200;

/**
 * Applies a unified diff of one file; every line that it names must be in the text as it is.
 * @throws InputError `bad_edit` for what is no such diff, `edit_no_match` or `edit_ambiguous` naming the hunk
 */
export function applyDiff(text: string, diff: string, number: number): string {
  const patch = parseDiff(diff, number);
  for (const hunk of patch.hunks) assertPlaced(text, hunk, number);
  const changed = applyPatch(text, patch, { fuzzFactor: 0 });
  if (changed !== false) return changed;
  // Hunks are applied in their order: the first set of them that fails ends in the one to name.
  const count = patch.hunks.findIndex((_hunk, index) => {
    return applyPatch(text, { ...patch, hunks: patch.hunks.slice(0, index + 1) }, { fuzzFactor: 0 }) === false;
  });
  const hunk = patch.hunks[Math.max(count, 0)];
  const missing = hunk ? findMissing(text, hunk) : undefined;
  const why = missing === undefined ? 'Its lines stand in another order or place.' : describeNearest(text, missing);
  throw new InputError(
    'edit_no_match',
    `Edit ${number} does not match: ${hunk ? nameHunk(hunk) : 'its hunks'} cannot be applied. ${why} Nothing was submitted.`,
    'Copy the lines around the change from the base as they are, or send search and replace instead.',
  );
}

function parseDiff(diff: string, number: number): StructuredPatch {
  const refuse = (problem: string): never => {
    throw new InputError(
      'bad_edit',
      `The diff of edit ${number} ${problem}. Nothing was submitted.`,
      'Send a unified diff of the base alone, with "@@ -line,count +line,count @@" before each hunk, or search and replace.',
    );
  };
  const patches = readPatches(diff) ?? refuse('cannot be read: a header, or the counts of a hunk, are wrong');
  const [patch, ...others] = patches.filter(({ hunks }) => hunks.length > 0);
  if (!patch) return refuse('holds no hunk');
  if (others.length > 0) return refuse(`is about ${others.length + 1} files, a variant is one`);
  return patch.hunks.length > MAX_HUNKS ? refuse(`has more than ${MAX_HUNKS} hunks`) : patch;
}

function readPatches(diff: string): StructuredPatch[] | null {
  try {
    return parsePatch(diff.replace(/\n*$/, '\n'));
  } catch {
    return null;
  }
}

function oldLines(hunk: StructuredPatchHunk): string[] {
  return hunk.lines.filter((line) => line === '' || line[0] === ' ' || line[0] === '-').map((line) => line.slice(1));
}

/** Line numbers of models are often wrong: they only decide where the lines themselves do. */
function assertPlaced(text: string, hunk: StructuredPatchHunk, number: number): void {
  const lines = text.split('\n');
  const wanted = oldLines(hunk);
  const isAt = (at: number) => wanted.every((line, index) => lines[at + index] === line);
  if (wanted.length === 0 || isAt(hunk.oldStart - 1)) return;
  const places = lines.flatMap((_line, at) => (isAt(at) ? [at + 1] : []));
  if (places.length < 2) return;
  throw new InputError(
    'edit_ambiguous',
    `Edit ${number} is ambiguous: the lines of ${nameHunk(hunk)} are not there, and stand on lines ${places.slice(0, 5).join(', ')}. Nothing was submitted.`,
    'Correct the line number, or add lines around the change until the place is unique.',
  );
}

function findMissing(text: string, hunk: StructuredPatchHunk): string | undefined {
  const lines = new Set(text.split('\n'));
  return oldLines(hunk).find((line) => line.trim() !== '' && !lines.has(line));
}

function nameHunk({ oldStart, oldLines: count }: StructuredPatchHunk): string {
  return `the hunk of lines ${oldStart} to ${oldStart + Math.max(count, 1) - 1}`;
}
