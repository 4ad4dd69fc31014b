/** A top-level upper-case constant of a training script: what a variant usually changes. */
export interface Knob {
  readonly name: string;
  /** Its value as the source spells it. */
  readonly value: string;
  /** The whole line, ready to be the search text of an edit. */
  readonly line: string;
}

const KNOB_LINE = /^([A-Z][A-Z0-9_]{1,40})\s*(?::[^=]+)?=\s*([^#\n]+?)\s*(?:#.*)?$/;
const LITERAL = /^(?:[-+\d._eE*()[\], ]+|"[^"]*"|'[^']*'|True|False|None)$/;
const MAX_KNOBS = 60;

/** Finds the knobs of a script: constants with a literal value at the start of a line. */
export function findKnobs(source: string): Knob[] {
  const knobs: Knob[] = [];
  for (const line of source.split('\n')) {
    const match = KNOB_LINE.exec(line);
    const [, name, value] = match ?? [];
    if (name === undefined || value === undefined || !LITERAL.test(value)) continue;
    if (!knobs.some((knob) => knob.name === name)) knobs.push({ name, value, line });
    if (knobs.length >= MAX_KNOBS) break;
  }
  return knobs;
}
