import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import type { JsonObject, JsonValue } from '../../base/json.ts';
import { applyConfig, type NormalLine } from './normal-form.ts';

/** A knob that a variant sets to another value than its parent. */
export const KnobChange = z.object({
  name: z.string(),
  direction: z.enum(['up', 'down', 'other']),
  /** The new value as JSON: what "the same direction" without an order compares. */
  to: z.string(),
});
export type KnobChange = z.infer<typeof KnobChange>;

/** How a variant differs from its parent. */
export interface Changes {
  readonly knobs: readonly KnobChange[];
  /** Added and removed lines that set no knob, in their normal form. */
  readonly lines: string;
}

/** More of a large change is not compared. */
const MAX_LINE_CHARS = 4_000;

/** Compares a variant with its parent, each with its config applied; a script of its own has no changes. */
export function findChanges(
  parent: { source: string; config: JsonObject } | null,
  variant: { source: string; config: JsonObject },
): Changes {
  if (!parent) return { knobs: [], lines: '' };
  const before = applyConfig(parent.source, parent.config);
  const after = applyConfig(variant.source, variant.config);
  const rest = Object.entries(after.rest)
    .filter(([name, value]) => !isDeepStrictEqual(before.rest[name], value))
    .map(([name, value]) => describeChange(name, before.rest[name], value));
  const old = firstKnobs(before.lines ?? []);
  const now = firstKnobs(after.lines ?? []);
  const knobs = [...now].flatMap(([name, value]) => {
    const previous = old.get(name);
    return previous === undefined || isDeepStrictEqual(previous, value) ? [] : [describeChange(name, previous, value)];
  });
  const isKnob = (line: NormalLine) => line.knob !== null && old.has(line.knob.name) && now.has(line.knob.name);
  const text = diffLines(
    (before.lines ?? []).filter((line) => !isKnob(line)),
    (after.lines ?? []).filter((line) => !isKnob(line)),
  );
  return { knobs: [...knobs, ...rest], lines: text.slice(0, MAX_LINE_CHARS) };
}

function firstKnobs(lines: readonly NormalLine[]): Map<string, JsonValue> {
  const knobs = new Map<string, JsonValue>();
  for (const { knob } of lines) if (knob && !knobs.has(knob.name)) knobs.set(knob.name, knob.value);
  return knobs;
}

function describeChange(name: string, from: JsonValue | undefined, to: JsonValue): KnobChange {
  const isOrdered = typeof from === 'number' && typeof to === 'number';
  return { name, direction: isOrdered ? (to > from ? 'up' : 'down') : 'other', to: JSON.stringify(to) };
}

/** Lines that only one of the two has, as often as it has them more. */
function diffLines(before: readonly NormalLine[], after: readonly NormalLine[]): string {
  const counts = new Map<string, number>();
  for (const { text } of before) counts.set(text, (counts.get(text) ?? 0) - 1);
  for (const { text } of after) counts.set(text, (counts.get(text) ?? 0) + 1);
  return [...counts]
    .filter(([, count]) => count !== 0)
    .map(([text, count]) => `${count > 0 ? '+' : '-'}${text}`)
    .join('\n');
}
