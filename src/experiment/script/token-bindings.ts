import type { ImportedName, Statement } from './facts.ts';
import { splitAt, withDepth } from './logical-lines.ts';
import type { Token } from './tokens.ts';

type Bindings = Pick<Statement, 'binds' | 'mutates' | 'imports'>;

/** A target that is a part of something. */
const PART = /[.[(]/;

const AUGMENTED = new Set(['+=', '-=', '*=', '/=', '//=', '%=', '**=', '>>=', '<<=', '&=', '^=', '|=', '@=']);

/** What a statement defines, what it changes a part of, and what it imports. */
export function findBindings(tokens: readonly Token[]): Bindings {
  const [first] = tokens;
  const imports = first?.text === 'import' ? readImport(tokens) : first?.text === 'from' ? readFrom(tokens) : [];
  if (imports.length > 0) return { binds: [], mutates: [], imports };
  const targets = [...findTargets(tokens), ...findWalrus(tokens)].map(describeTarget);
  return {
    binds: targets.filter((target) => target !== '' && !PART.test(target)),
    mutates: targets.filter((target) => PART.test(target)),
    imports,
  };
}

function readImport(tokens: readonly Token[]): ImportedName[] {
  return splitAt(tokens.slice(1), ',').map((part) => {
    const { path, alias } = readAs(part);
    return { module: path, name: null, as: alias ?? path.split('.')[0] ?? path };
  });
}

function readFrom(tokens: readonly Token[]): ImportedName[] {
  const at = tokens.findIndex(({ text }) => text === 'import');
  const module = tokens
    .slice(1, at)
    .map(({ text }) => text)
    .join('');
  const names = tokens.slice(at + 1).filter(({ text }) => text !== '(' && text !== ')');
  return splitAt(names, ',').map((part) => {
    const { path, alias } = readAs(part);
    return { module, name: path, as: alias ?? path };
  });
}

function readAs(tokens: readonly Token[]): { path: string; alias: string | undefined } {
  const at = tokens.findIndex(({ text }) => text === 'as');
  const path = (at < 0 ? tokens : tokens.slice(0, at)).map(({ text }) => text).join('');
  return { path, alias: at < 0 ? undefined : tokens[at + 1]?.text };
}

function findTargets(tokens: readonly Token[]): (readonly Token[])[] {
  const start = tokens[0]?.text === 'async' ? 1 : 0;
  switch (tokens[start]?.text) {
    case 'def':
    case 'class':
      return [tokens.slice(start + 1, start + 2)];
    case 'for':
      return splitTargets(tokens.slice(start + 1, indexOutside(tokens, 'in')));
    case 'with':
    case 'except':
    case 'case':
      return findAs(tokens);
    case 'global':
    case 'nonlocal':
    case 'del':
      return splitTargets(tokens.slice(start + 1));
    default:
      return findAssigned(tokens);
  }
}

function indexOutside(tokens: readonly Token[], word: string): number {
  for (const { token, depth, index } of withDepth(tokens)) if (depth === 0 && token.text === word) return index;
  return tokens.length;
}

function findAs(tokens: readonly Token[]): (readonly Token[])[] {
  return tokens.flatMap(({ text, kind }, index) => {
    if (kind !== 'name' || text !== 'as') return [];
    const rest = tokens.slice(index + 1);
    const end = rest.findIndex((token) => token.kind === 'op' && ',):'.includes(token.text));
    return [end < 0 ? rest : rest.slice(0, end)];
  });
}

/** `a = b = …`, `a += …`, `a: int = …`. */
function findAssigned(tokens: readonly Token[]): (readonly Token[])[] {
  const colon = indexOutside(tokens, ':');
  const equals = indexOutside(tokens, '=');
  const hasLambda = tokens.slice(0, colon).some(({ text }) => text === 'lambda');
  if (colon < tokens.length && colon < equals && !hasLambda) return [tokens.slice(0, colon)];
  for (const { token, depth, index } of withDepth(tokens)) {
    if (depth === 0 && token.kind === 'op' && AUGMENTED.has(token.text)) return splitTargets(tokens.slice(0, index));
  }
  const parts = splitAt(tokens, '=');
  // Behind a lambda an equals sign gives a parameter its default.
  const value = parts.findIndex((part) => part.some(({ text }) => text === 'lambda'));
  return parts.slice(0, value < 0 ? -1 : value).flatMap(splitTargets);
}

function splitTargets(tokens: readonly Token[]): (readonly Token[])[] {
  return splitAt(tokens, ',').flatMap((part) => {
    const target = part[0]?.text === '*' ? part.slice(1) : part;
    const isGroup = target[0]?.text === '(' || target[0]?.text === '[';
    return isGroup ? splitTargets(target.slice(1, -1)) : [target];
  });
}

function findWalrus(tokens: readonly Token[]): (readonly Token[])[] {
  return tokens.flatMap(({ text }, index) => (text === ':=' ? [tokens.slice(index - 1, index)] : []));
}

/** `prepare.TIME_BUDGET`, `globals()[]`: what stands in brackets does not matter. */
function describeTarget(tokens: readonly Token[]): string {
  let text = '';
  for (const { token, depth } of withDepth(tokens)) {
    const isEdge = token.kind === 'op' && '()[]'.includes(token.text);
    if (depth === 0 || (depth === 1 && isEdge)) text += token.text;
  }
  return text;
}
