import type { CallArgument, ScriptFacts, Statement } from './facts.ts';
import { readNumber } from './literal.ts';
import { type LogicalLine, splitAt, splitLines, withDepth } from './logical-lines.ts';
import { findBindings } from './token-bindings.ts';
import { type Token, tokenize } from './tokens.ts';

/** Reads a script without Python: tolerant, it finds only the coarse faults of a source that does not parse. */
export function readTokenFacts(source: string): ScriptFacts {
  const { tokens, fault } = tokenize(source);
  return fault ? { fault, statements: [] } : { fault: null, statements: splitLines(tokens).map(readStatement) };
}

function readStatement({ tokens, scope }: LogicalLine): Statement {
  const inner = tokens.flatMap(({ filled }) => (filled ?? []).map((expression) => tokenize(expression).tokens));
  const words = [tokens, ...inner];
  return {
    line: tokens[0]?.line ?? 1,
    text: normalForm(tokens),
    scope,
    names: [...new Set(words.flatMap(findNames))],
    ...findBindings(tokens),
    paths: words.flatMap((part) => findPaths(part).map(({ path }) => path)),
    calls: words.flatMap(findCalls),
    strings: words.flatMap(joinStrings),
  };
}

/** One spelling of the same tokens. */
export function normalForm(tokens: readonly Token[]): string {
  return tokens.map(normalToken).join(' ');
}

function normalToken(token: Token): string {
  if (token.kind === 'number') return String(readNumber(token.text) ?? token.text);
  if (token.kind !== 'string' || token.filled) return token.text;
  return `${/^[a-z]*b/i.test(token.text) ? 'b' : ''}${JSON.stringify(token.value)}`;
}

const KEYWORDS = new Set(
  'False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield'.split(
    ' ',
  ),
);

/** Places of the variables that tokens mention: no attributes, no names of arguments, nothing that an import names. */
function findVariables(tokens: readonly Token[]): number[] {
  const [first, second] = tokens;
  if (['import', 'from', 'global', 'nonlocal'].includes(first?.text ?? '')) return [];
  const isDefinition = first?.text === 'def' || second?.text === 'def';
  const places: number[] = [];
  for (const { token, depth, index } of withDepth(tokens)) {
    if (token.kind !== 'name' || KEYWORDS.has(token.text)) continue;
    const before = tokens[index - 1]?.text ?? '';
    const isAttribute = before === '.';
    const isKeyword = depth > 0 && tokens[index + 1]?.text === '=' && (before === '(' || before === ',');
    const isParameter = isDefinition && depth === 1 && ['(', ',', '*', '**'].includes(before);
    const isTitle = before === 'def' || before === 'class' || (first?.text === 'except' && before === 'as');
    if (!isAttribute && !isKeyword && !isParameter && !isTitle) places.push(index);
  }
  return places;
}

function findNames(tokens: readonly Token[]): string[] {
  return findVariables(tokens).map((index) => tokens[index]?.text ?? '');
}

/** Dotted names with the index of the token behind each. */
function findPaths(tokens: readonly Token[]): { path: string; end: number }[] {
  const starts = new Set(findVariables(tokens));
  const isImport = tokens[0]?.text === 'import' || tokens[0]?.text === 'from';
  const paths: { path: string; end: number }[] = [];
  for (let at = 0; at < tokens.length && !isImport; at += 1) {
    const isTail = tokens[at]?.kind === 'op' && tokens[at]?.text === '.';
    if (!isTail && !starts.has(at)) continue;
    let end = isTail ? at : at + 1;
    let path = isTail ? '' : (tokens[at]?.text ?? '');
    while (tokens[end]?.text === '.' && tokens[end + 1]?.kind === 'name') {
      path += `.${tokens[end + 1]?.text}`;
      end += 2;
    }
    if (path !== '') paths.push({ path, end });
    at = Math.max(at, end - 1);
  }
  return paths;
}

function findCalls(tokens: readonly Token[]): Statement['calls'] {
  return findPaths(tokens)
    .filter(({ end }) => tokens[end]?.text === '(' && tokens[end]?.kind === 'op')
    .map(({ path, end }) => ({ path, args: splitAt(readGroup(tokens, end), ',').map(readArgument) }));
}

/** The tokens between a bracket and the one that closes it. */
function readGroup(tokens: readonly Token[], open: number): readonly Token[] {
  const rest = tokens.slice(open);
  for (const { depth, token, index } of withDepth(rest)) {
    if (depth === 1 && index > 0 && token.kind === 'op' && token.text === ')') return rest.slice(1, index);
  }
  return rest.slice(1);
}

function readArgument(tokens: readonly Token[]): CallArgument {
  const isNamed = tokens[1]?.text === '=' && tokens[0]?.kind === 'name';
  const value = isNamed ? tokens.slice(2) : tokens;
  const strings = joinStrings(value);
  const isText = value.every(({ kind, text }) => kind === 'string' || text === '+') && strings.length === 1;
  return { name: isNamed ? (tokens[0]?.text ?? null) : null, text: isText ? (strings[0] ?? null) : null };
}

function joinStrings(tokens: readonly Token[]): string[] {
  const strings: string[] = [];
  for (const [index, { kind, value }] of tokens.entries()) {
    if (kind !== 'string') continue;
    const before = tokens[index - 1];
    const isAdded = before?.text === '+' && tokens[index - 2]?.kind === 'string' && tokens[index + 1]?.text !== '.';
    const text = value ?? '';
    if (before?.kind === 'string' || isAdded) strings.push(`${strings.pop() ?? ''}${text}`);
    else strings.push(text);
  }
  return strings;
}
