import type { Token } from './tokens.ts';

/** One simple statement, or the head of a compound one, with where it stands. */
export interface LogicalLine {
  readonly tokens: readonly Token[];
  readonly scope: string;
}

const COMPOUND = new Set([
  'if',
  'elif',
  'else',
  'for',
  'while',
  'with',
  'try',
  'except',
  'finally',
  'def',
  'class',
  'async',
]);

/** Splits tokens into statements and finds the functions and classes around each; texts that stand alone are left out. */
export function splitLines(tokens: readonly Token[]): LogicalLine[] {
  const lines: LogicalLine[] = [];
  const scopes: { name: string; level: number }[] = [];
  let level = 0;
  let current: Token[] = [];
  const scope = (more?: string) => [...scopes.map(({ name }) => name), ...(more === undefined ? [] : [more])].join('.');
  for (const token of tokens) {
    if (token.kind === 'indent') level += 1;
    else if (token.kind === 'dedent') {
      level -= 1;
      while ((scopes.at(-1)?.level ?? -1) >= level) scopes.pop();
    } else if (token.kind === 'newline') {
      const { head, body } = splitHead(current);
      current = [];
      const name = nameOfBlock(head);
      addSimple(lines, head, scope());
      for (const part of splitAt(body, ';')) addSimple(lines, part, scope(name));
      if (name !== undefined && body.length === 0) scopes.push({ name, level });
    } else current.push(token);
  }
  return lines;
}

function addSimple(lines: LogicalLine[], tokens: readonly Token[], scope: string): void {
  for (const part of splitAt(tokens, ';')) {
    if (part.some(({ kind }) => kind !== 'string')) lines.push({ tokens: part, scope });
  }
}

/** A compound statement on one line is a head with a body behind its colon. */
function splitHead(tokens: readonly Token[]): { head: readonly Token[]; body: readonly Token[] } {
  const first = tokens[0];
  if (first?.kind !== 'name' || !isCompound(tokens)) return { head: tokens, body: [] };
  let lambdas = 0;
  for (const { token, depth, index } of withDepth(tokens)) {
    if (depth > 0) continue;
    if (token.text === 'lambda') lambdas += 1;
    if (token.text !== ':' || token.kind !== 'op') continue;
    if (lambdas === 0) return { head: tokens.slice(0, index), body: tokens.slice(index + 1) };
    lambdas -= 1;
  }
  return { head: tokens, body: [] };
}

/** `match` and `case` are keywords only where a block follows. */
function isCompound(tokens: readonly Token[]): boolean {
  const [first, second] = tokens;
  if (first === undefined) return false;
  if (COMPOUND.has(first.text)) return true;
  if (first.text !== 'match' && first.text !== 'case') return false;
  const isOperand = second !== undefined && (second.kind !== 'op' || '([{-*'.includes(second.text));
  return isOperand && tokens.at(-1)?.text === ':';
}

function nameOfBlock(head: readonly Token[]): string | undefined {
  const at = head[0]?.text === 'async' ? 1 : 0;
  const word = head[at]?.text;
  return word === 'def' || word === 'class' ? head[at + 1]?.text : undefined;
}

/** Tokens with the number of brackets around each; a bracket counts as inside of itself. */
export function* withDepth(tokens: readonly Token[]): Generator<{ token: Token; depth: number; index: number }> {
  let depth = 0;
  for (const [index, token] of tokens.entries()) {
    const isOperator = token.kind === 'op';
    if (isOperator && (token.text === '(' || token.text === '[' || token.text === '{')) depth += 1;
    yield { token, depth, index };
    if (isOperator && (token.text === ')' || token.text === ']' || token.text === '}')) depth -= 1;
  }
}

/** Splits at an operator outside of brackets. */
export function splitAt(tokens: readonly Token[], separator: string): (readonly Token[])[] {
  const parts: Token[][] = [[]];
  for (const { token, depth } of withDepth(tokens)) {
    if (depth === 0 && token.kind === 'op' && token.text === separator) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return parts.filter((part) => part.length > 0);
}
