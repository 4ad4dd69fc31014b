import { isDeepStrictEqual } from 'node:util';
import { diffLines } from 'diff';
import type { JsonObject } from '../base/json.ts';

const ASSIGNMENT = /^\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*([^#]*?)\s*(?:#.*)?$/;
const MAX_CHARS = 160;

/**
 * One line that says how a variant differs from its base, derived from the difference itself: `DEPTH 8 → 9`.
 * @param base null for a source of its own
 * @param baseConfig config of the base
 */
export function describeVariant(
  base: string | null,
  source: string,
  config: JsonObject,
  baseConfig: JsonObject = {},
): string {
  const parts = [...(base === null ? [] : describeDifference(base, source)), ...describeConfig(config, baseConfig)];
  if (parts.length === 0) return base === null ? 'new source' : 'unchanged';
  const text = parts.join(', ');
  return text.length > MAX_CHARS ? `${text.slice(0, MAX_CHARS - 1)}…` : text;
}

function describeConfig(config: JsonObject, before: JsonObject): string[] {
  const set = Object.entries(config)
    .filter(([key, value]) => !isDeepStrictEqual(before[key], value))
    .map(([key, value]) =>
      before[key] === undefined
        ? `${key} := ${JSON.stringify(value)}`
        : `${key} ${JSON.stringify(before[key])} → ${JSON.stringify(value)}`,
    );
  const gone = Object.keys(before).filter((key) => config[key] === undefined);
  return [...set, ...gone.map((key) => `${key} ${JSON.stringify(before[key])} → as in the source`)];
}

function describeDifference(base: string, source: string): string[] {
  if (base === source) return [];
  const changes = diffLines(base, source);
  const lines = (kind: 'added' | 'removed') =>
    changes
      .filter((change) => change[kind])
      .flatMap((change) => change.value.split('\n').filter((line) => line.trim() !== ''));
  const removed = lines('removed');
  const added = lines('added');
  const knobs = describeKnobs(removed, added);
  const other = added.length + removed.length - 2 * knobs.length;
  return other === 0 ? knobs : [...knobs, `+${added.length - knobs.length} −${removed.length - knobs.length} lines`];
}

/** Assignments whose value alone changed. */
function describeKnobs(removed: readonly string[], added: readonly string[]): string[] {
  const before = new Map(removed.flatMap(parseAssignment));
  return added.flatMap((line) => {
    const [assignment] = parseAssignment(line);
    const old = assignment && before.get(assignment[0]);
    return assignment && old !== undefined && old !== assignment[1]
      ? [`${assignment[0]} ${old} → ${assignment[1]}`]
      : [];
  });
}

function parseAssignment(line: string): [string, string][] {
  const match = ASSIGNMENT.exec(line);
  return match?.[1] !== undefined && match[2] !== undefined ? [[match[1], match[2]]] : [];
}
