import type { JsonValue } from '../../base/json.ts';
import type { Token } from './tokens.ts';

/** Evaluating `9**9**9` would take the machine away: larger results count as no literal. */
const MAX_MAGNITUDE = 1e300;

/** Longer ones are tables, no knobs; and a reader that recurses must not be led too deep. */
const MAX_TOKENS = 1_000;

/**
 * Value of an expression that is made of literals alone: numbers with arithmetic (`2**19`), texts, True, False, None,
 * tuples and lists of them. A tuple and a list are the same value, since JSON knows one of them only.
 * @returns undefined for anything else
 */
export function readLiteral(tokens: readonly Token[]): JsonValue | undefined {
  if (tokens.length > MAX_TOKENS) return undefined;
  const parser = new Parser(tokens);
  const value = parser.readItems(null);
  return parser.isAtEnd ? value : undefined;
}

const WORDS = new Map<string, JsonValue>([
  ['True', true],
  ['False', false],
  ['None', null],
]);

/** Recursive descent; `undefined` means that it is no literal and ends the attempt. */
class Parser {
  #at = 0;
  readonly #tokens: readonly Token[];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#tokens.length;
  }

  #take(...texts: readonly string[]): string | undefined {
    const token = this.#tokens[this.#at];
    if (token?.kind !== 'op' || !texts.includes(token.text)) return undefined;
    this.#at += 1;
    return token.text;
  }

  /** Items up to a closing bracket (or the end); one without a comma is itself. */
  readItems(closer: string | null): JsonValue | undefined {
    const items: JsonValue[] = [];
    let hasComma = false;
    const isOver = () => (closer === null ? this.isAtEnd : this.#take(closer) !== undefined);
    while (!isOver()) {
      const item = this.#readSum();
      if (item === undefined) return undefined;
      items.push(item);
      if (this.#take(',') !== undefined) hasComma = true;
      else if (!isOver()) return undefined;
      else break;
    }
    return hasComma || items.length === 0 || closer === ']' ? items : items[0];
  }

  #readSum(): JsonValue | undefined {
    let left = this.#readProduct();
    for (let operator = this.#take('+', '-'); operator !== undefined; operator = this.#take('+', '-')) {
      left = calculate(operator, left, this.#readProduct());
    }
    return left;
  }

  #readProduct(): JsonValue | undefined {
    let left = this.#readSigned();
    for (let operator = this.#take('*', '/', '//'); operator !== undefined; operator = this.#take('*', '/', '//')) {
      left = calculate(operator, left, this.#readSigned());
    }
    return left;
  }

  #readSigned(): JsonValue | undefined {
    const sign = this.#take('+', '-');
    if (sign !== undefined) return calculate(sign, 0, this.#readSigned());
    const base = this.#readAtom();
    return this.#take('**') === undefined ? base : calculate('**', base, this.#readSigned());
  }

  #readAtom(): JsonValue | undefined {
    if (this.#take('(') !== undefined) return this.readItems(')');
    if (this.#take('[') !== undefined) return this.readItems(']');
    const token = this.#tokens[this.#at];
    if (!token) return undefined;
    this.#at += 1;
    switch (token.kind) {
      case 'number':
        return readNumber(token.text);
      case 'string':
        return this.#readText(token);
      case 'name':
        return WORDS.get(token.text);
      default:
        return undefined;
    }
  }

  /** Texts side by side are one text. */
  #readText(first: Token): JsonValue | undefined {
    if (first.filled || /^[a-z]*b/i.test(first.text)) return undefined;
    let text = first.value ?? '';
    for (let next = this.#tokens[this.#at]; next?.kind === 'string' && !next.filled; next = this.#tokens[this.#at]) {
      text += next.value ?? '';
      this.#at += 1;
    }
    return text;
  }
}

/** A number as Python spells it; undefined for what JSON cannot hold. */
export function readNumber(text: string): number | undefined {
  if (/j$/i.test(text)) return undefined;
  const value = Number(text.replaceAll('_', ''));
  return Number.isFinite(value) ? value : undefined;
}

function calculate(operator: string, left: JsonValue | undefined, right: JsonValue | undefined): number | undefined {
  if (typeof left !== 'number' || typeof right !== 'number') return undefined;
  const value = OPERATIONS[operator]?.(left, right);
  return value !== undefined && Math.abs(value) <= MAX_MAGNITUDE ? value + 0 : undefined;
}

const OPERATIONS: Readonly<Record<string, (left: number, right: number) => number>> = {
  '+': (left, right) => left + right,
  '-': (left, right) => left - right,
  '*': (left, right) => left * right,
  '/': (left, right) => left / right,
  '//': (left, right) => Math.floor(left / right),
  '**': (left, right) => left ** right,
};
