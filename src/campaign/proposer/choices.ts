import { formatLiteral, type Literal } from './literals.ts';

const WORD = /^\w[\w.+-]{0,30}$/;
const PATTERN = /^[A-Z]{2,12}$/;
const MAX_CHOICES = 6;

/**
 * Other values that a switch or a name may have, as far as the script says so itself: alternatives in the comment of
 * its line (`# relu2 | relu | tanh`), texts that the script compares it with, and mixtures of the letters of a pattern.
 */
export function findChoices(name: string, value: Literal, comment: string, source: string): Literal[] {
  if (value.kind === 'bool') return [{ kind: 'bool', value: !value.value }];
  if (value.kind !== 'text') return [];
  const said = [...listedIn(comment, value.value), ...comparedWith(name, source), ...mixtures(value.value)];
  const others = [...new Set(said)].filter((choice) => choice !== value.value);
  return others.slice(0, MAX_CHOICES).map((choice): Literal => ({ kind: 'text', value: choice }));
}

function listedIn(comment: string, value: string): string[] {
  const words = comment.split(/\s*(?:\||,|\bor\b)\s*/).map((word) => word.trim().replace(/^["']|["']$/g, ''));
  return words.includes(value) ? words.filter((word) => WORD.test(word)) : [];
}

function comparedWith(name: string, source: string): string[] {
  const compared = new RegExp(`\\b${name}\\s*[!=]=\\s*["'](\\w{1,30})["']`, 'g');
  return [...source.matchAll(compared)].flatMap(([, word]) => word ?? []);
}

/** A pattern such as `SSSL`: shorter by one of its commonest letter, or one letter throughout. */
function mixtures(value: string): string[] {
  const letters = [...new Set(value)];
  if (!PATTERN.test(value) || letters.length < 2 || letters.length > 3) return [];
  const [commonest = ''] = letters.toSorted((a, b) => value.split(b).length - value.split(a).length);
  return [value.replace(commonest, ''), ...letters];
}

/** A short name for a choice, for comparing it with earlier ones. */
export function choiceTag(choice: Literal): string {
  return `= ${formatLiteral(choice)}`;
}
