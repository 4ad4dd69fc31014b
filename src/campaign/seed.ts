import { canonicalJson, sha256 } from '../base/hash.ts';
import type { JsonObject } from '../base/json.ts';
import { findKnobs } from './knobs.ts';

/** A program: source and config. */
interface Program {
  readonly source: string;
  readonly config: JsonObject;
}

/** What a program is apart from its luck. */
export interface Family {
  /** Hash that all seeds of a program share. */
  readonly family: string;
  /** As the script or the config spells it; null where there is none. */
  readonly seed: string | null;
}

const BLANK = 'seed';

/**
 * Parts a program from its seed, so that runs of other seeds are known as runs of the same idea.
 * @param knob the task's constant that seeds a run; null: the task has none
 */
export function partFromSeed({ source, config }: Program, knob: string | null): Family {
  const line = knob === null ? undefined : findKnobs(source).find(({ name }) => name === knob);
  const override = knob === null ? undefined : config[knob];
  const seed = override === undefined ? line?.value : JSON.stringify(override);
  const { [knob ?? '']: _seed, ...rest } = config;
  const family = sha256(
    canonicalJson([line ? replaceLine(source, line, BLANK) : source, knob === null ? config : rest]),
  );
  return { family, seed: seed ?? null };
}

/** The same program with another seed; null where it has none that can be set. */
export function withSeed({ source, config }: Program, knob: string, seed: number): Program | null {
  if (config[knob] !== undefined) return { source, config: { ...config, [knob]: seed } };
  const line = findKnobs(source).find(({ name }) => name === knob);
  return line ? { source: replaceLine(source, line, String(seed)), config } : null;
}

function replaceLine(source: string, knob: { lineIndex: number; line: string; value: string }, value: string): string {
  const lines = source.split('\n');
  const assigned = knob.line.indexOf('=') + 1;
  const at = knob.line.indexOf(knob.value, assigned);
  lines[knob.lineIndex] = `${knob.line.slice(0, at)}${value}${knob.line.slice(at + knob.value.length)}`;
  return lines.join('\n');
}
