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
const NUMBER = /^\d+$/;

/**
 * Parts a program from its seed, so that runs of other seeds are known as runs of the same idea.
 * @param knob the task's constant that seeds a run, or the function that is called with the seed; null: the task has none
 */
export function partFromSeed({ source, config }: Program, knob: string | null): Family {
  const place = knob === null ? null : findSeed(source, knob);
  const override = knob === null ? undefined : config[knob];
  const seed = override === undefined ? place?.value : JSON.stringify(override);
  const { [knob ?? '']: _seed, ...rest } = config;
  const family = sha256(canonicalJson([place ? place.write(BLANK) : source, knob === null ? config : rest]));
  return { family, seed: seed ?? null };
}

/** The same program with another seed; null where it has none that can be set. */
export function withSeed({ source, config }: Program, knob: string, seed: number): Program | null {
  if (config[knob] !== undefined) return { source, config: { ...config, [knob]: seed } };
  const place = findSeed(source, knob);
  return place && { source: place.write(String(seed)), config };
}

/** Where a script states its seed. */
interface SeedPlace {
  readonly value: string;
  readonly write: (value: string) => string;
}

function findSeed(source: string, knob: string): SeedPlace | null {
  const line = findKnobs(source).find(({ name }) => name === knob);
  if (line) return { value: line.value, write: (value) => replaceLine(source, line, value) };
  // Each device may be seeded by a call of its own: with different numbers it is not known which one is the seed.
  const call = new RegExp(`(?<!\\w)(${knob}\\(\\s*)(\\w+)(\\s*\\))`, 'g');
  const values = new Set([...source.matchAll(call)].map(([, , value]) => value));
  const [value] = values;
  if (value === undefined || values.size > 1 || !NUMBER.test(value)) return null;
  return { value, write: (text) => source.replace(call, (_call, open, _value, close) => `${open}${text}${close}`) };
}

function replaceLine(source: string, knob: { lineIndex: number; line: string; value: string }, value: string): string {
  const lines = source.split('\n');
  const assigned = knob.line.indexOf('=') + 1;
  const at = knob.line.indexOf(knob.value, assigned);
  lines[knob.lineIndex] = `${knob.line.slice(0, at)}${value}${knob.line.slice(at + knob.value.length)}`;
  return lines.join('\n');
}
