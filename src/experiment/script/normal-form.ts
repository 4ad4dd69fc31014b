import { canonicalJson, type Sha256, sha256 } from '../../base/hash.ts';
import type { JsonObject, JsonValue } from '../../base/json.ts';
import { readLiteral } from './literal.ts';
import { withDepth } from './logical-lines.ts';
import { normalForm } from './token-facts.ts';
import { type Token, tokenize } from './tokens.ts';

/** A constant of the main program with a literal value. */
export interface KnobValue {
  readonly value: JsonValue;
  readonly line: number;
}

/** One logical line of a source in its normal form. */
export interface NormalLine {
  /** Empty for lines that say nothing, such as docstrings. */
  readonly text: string;
  /** How deeply it is indented, in blocks. */
  readonly level: number;
  readonly knob: ({ readonly name: string } & KnobValue) | null;
  readonly tokens: readonly Token[];
}

/** A source without comments, white space and other spellings of the same; null when it cannot be read. */
export function readLines(source: string): NormalLine[] | null {
  const { tokens, fault } = tokenize(source);
  if (fault) return null;
  const lines: NormalLine[] = [];
  let level = 0;
  let current: Token[] = [];
  for (const token of tokens) {
    if (token.kind === 'indent') level += 1;
    else if (token.kind === 'dedent') level -= 1;
    else if (token.kind !== 'newline') current.push(token);
    else {
      const isText = current.every(({ kind }) => kind === 'string');
      const knob = level === 0 ? readKnob(current) : null;
      const text = knob ? `${knob.name} = ${canonicalJson(knob.value)}` : normalForm(current);
      if (!isText) lines.push({ text, level, knob, tokens: current });
      current = [];
    }
  }
  return lines;
}

/** `NAME = <literal>`, also with an annotation. */
function readKnob(tokens: readonly Token[]): NormalLine['knob'] {
  const [name, second] = tokens;
  if (name?.kind !== 'name' || (second?.text !== '=' && second?.text !== ':')) return null;
  for (const { token, depth, index } of withDepth(tokens)) {
    if (depth > 0 || token.kind !== 'op' || token.text !== '=') continue;
    const value = readLiteral(tokens.slice(index + 1));
    return value === undefined ? null : { name: name.text, value, line: name.line };
  }
  return null;
}

/** The first value of each knob. */
export function readKnobs(source: string): Map<string, KnobValue> {
  const knobs = new Map<string, KnobValue>();
  for (const { knob } of readLines(source) ?? []) {
    if (knob && !knobs.has(knob.name)) knobs.set(knob.name, knob);
  }
  return knobs;
}

/** A script that never names the variable gets the config handed over in vain (worker-api.md section 11). */
export function readsConfig(source: string): boolean {
  return source.includes('AUTORESEARCH_EXPERIMENT_CONFIG');
}

/**
 * Whether the script lets the config replace its upper-case constants and refuses other names, as the example jobs do:
 * then a value in the config and the same one in the source are one variant.
 */
function overridesKnobs(source: string): boolean {
  return readsConfig(source) && /\.isupper\(\)/.test(source) && /globals\(\)\[\w+\] = /.test(source);
}

const SEED_CALLS = /^(?:manual_seed|manual_seed_all|seed|seed_all|default_rng|RandomState|PRNGKey|Random)$/;
const SEED_NAME = /(?:^|_)SEED$/i;
const BLANK = '?';

export interface EffectiveForm {
  /** Equal for variants that run the same program with the same values. */
  readonly effectiveHash: Sha256;
  /** Equal for variants that differ in their seeds alone. */
  readonly seedlessHash: Sha256;
}

/** What a variant runs, whatever its comments, its layout, and the place in which a value is given. */
export function buildEffectiveForm(source: string, config: JsonObject): EffectiveForm {
  const { lines, rest } = applyConfig(source, config);
  if (!lines) {
    const hash = sha256(canonicalJson([source, rest]));
    return { effectiveHash: hash, seedlessHash: hash };
  }
  const seedless = Object.fromEntries(
    Object.entries(rest).map(([name, value]) => [name, SEED_NAME.test(name) ? BLANK : value]),
  );
  return {
    effectiveHash: sha256(canonicalJson([lines.map(({ text, level }) => [level, text]), rest])),
    seedlessHash: sha256(canonicalJson([lines.map((line) => [line.level, blankSeed(line)]), seedless])),
  };
}

/** The lines as the config makes them, and what of the config has no line. */
export function applyConfig(source: string, config: JsonObject): { lines: NormalLine[] | null; rest: JsonObject } {
  const lines = readLines(source);
  const effective = readsConfig(source) ? config : {};
  if (!lines || !overridesKnobs(source)) return { lines, rest: effective };
  const left = new Map(Object.entries(effective));
  const changed = lines.map((line) => {
    const { knob } = line;
    const value = knob && left.get(knob.name);
    if (!knob || value == null || !/^[A-Z][A-Z0-9_]*$/.test(knob.name)) return line;
    left.delete(knob.name);
    return { ...line, text: `${knob.name} = ${canonicalJson(value)}`, knob: { ...knob, value } };
  });
  return { lines: changed, rest: Object.fromEntries(left) };
}

function blankSeed({ text, knob, tokens }: NormalLine): string {
  if (knob && SEED_NAME.test(knob.name)) return `${knob.name} = ${BLANK}`;
  const blank = tokens.map((token, index) => {
    const isSeed =
      token.kind === 'number' && tokens[index - 1]?.text === '(' && SEED_CALLS.test(tokens[index - 2]?.text ?? '');
    return isSeed ? { ...token, text: BLANK } : token;
  });
  return blank.some((token, index) => token !== tokens[index]) ? normalForm(blank) : text;
}
