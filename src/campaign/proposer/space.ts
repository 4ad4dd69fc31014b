import { sha256 } from '../../base/hash.ts';
import type { JsonObject, JsonValue } from '../../base/json.ts';
import { findKnobs, type Knob } from '../knobs.ts';
import { formatLiteral, type Literal, parseLiteral } from './literals.ts';

/** A source and its configuration: what is run. */
export interface Program {
  readonly source: string;
  readonly config: JsonObject;
}

/** A program seen as the values of its knobs. A tuple has one place per item: `ADAM_BETAS[1]`. */
export interface Point {
  /** Hash of everything but the values: programs that share it differ in knobs alone. */
  readonly rest: string;
  readonly values: ReadonlyMap<string, Literal>;
}

/** One value put in the place of another. */
export interface Setting {
  readonly key: string;
  readonly value: Literal;
}

/** Reads the knobs of a program; a config overrides the constants of the same name, as scripts that read it do. */
export function readPoint({ source, config }: Program): Point {
  const lines = source.split('\n');
  const values = new Map<string, Literal>();
  for (const knob of findKnobs(source)) {
    const inSource = parseLiteral(knob.value);
    if (inSource === null) continue;
    lines[knob.lineIndex] = `${knob.name} = ?`;
    const literal = Object.hasOwn(config, knob.name) ? fromJson(config[knob.name], inSource) : inSource;
    if (literal === null) continue;
    if (literal.kind !== 'tuple') values.set(knob.name, literal);
    else for (const [index, item] of literal.items.entries()) values.set(`${knob.name}[${index}]`, item);
  }
  const others = Object.entries(config).filter(([key]) => !values.has(key) && !values.has(`${key}[0]`));
  return { rest: sha256(JSON.stringify([lines, others.toSorted()])), values };
}

/** Whether two literals say the same. */
export function isSame(a: Literal | undefined, b: Literal | undefined): boolean {
  return a !== undefined && b !== undefined && formatLiteral(a) === formatLiteral(b);
}

/** Keys of the values in which two points differ; null when they differ in more than values. */
export function differingKeys(a: Point, b: Point): string[] | null {
  if (a.rest !== b.rest) return null;
  return [...a.values.keys()].filter((key) => !isSame(a.values.get(key), b.values.get(key)));
}

/** Puts values into a program: into its config where that overrides the constant, else into the line of the source. */
export function applySettings(program: Program, settings: readonly Setting[]): Program {
  return settings.reduce(applySetting, program);
}

function applySetting(program: Program, { key, value }: Setting): Program {
  const [, name = key, item] = /^(.*?)(?:\[(\d+)\])?$/.exec(key) ?? [];
  const knob = findKnobs(program.source).find((found) => found.name === name);
  if (!knob) return program;
  const index = item === undefined ? null : Number(item);
  if (Object.hasOwn(program.config, name)) {
    const changed = putJson(program.config[name], index, toJson(value));
    return { ...program, config: { ...program.config, [name]: changed } };
  }
  return { ...program, source: writeKnob(program.source, knob, index, value) };
}

function writeKnob(source: string, knob: Knob, index: number | null, value: Literal): string {
  const old = parseLiteral(knob.value);
  const whole: Literal =
    index !== null && old?.kind === 'tuple'
      ? { ...old, items: old.items.map((item, at) => (at === index ? value : item)) }
      : value;
  const lines = source.split('\n');
  const start = knob.line.indexOf(knob.value, knob.line.indexOf('='));
  const end = start + knob.value.length;
  lines[knob.lineIndex] = `${knob.line.slice(0, start)}${formatLiteral(whole)}${knob.line.slice(end)}`;
  return lines.join('\n');
}

function fromJson(json: JsonValue | undefined, like: Literal): Literal | null {
  if (typeof json === 'boolean') return { kind: 'bool', value: json };
  if (typeof json === 'string') return { kind: 'text', value: json };
  if (typeof json === 'number') {
    const isFloat = like.kind === 'float' || !Number.isInteger(json);
    return isFloat ? { kind: 'float', value: json } : { kind: 'int', value: json, base: null };
  }
  if (!Array.isArray(json) || like.kind !== 'tuple') return null;
  const items = json.map((item, index) => fromJson(item, like.items[index] ?? { kind: 'float', value: 0 }));
  return { ...like, items: items.flatMap((item) => item ?? []) };
}

function toJson(value: Literal): JsonValue {
  return value.kind === 'tuple' ? value.items.map(toJson) : value.value;
}

function putJson(old: JsonValue | undefined, index: number | null, value: JsonValue): JsonValue {
  if (index === null || !Array.isArray(old)) return value;
  return old.map((item, at) => (at === index ? value : item));
}
