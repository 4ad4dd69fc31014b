/** A literal value of a Python constant, as far as a knob can be turned without understanding the script. */
export type Literal =
  /** `base` is 2 for a value spelled `2**19`: it is written back that way where that is exact. */
  | { readonly kind: 'int'; readonly value: number; readonly base: number | null }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'tuple'; readonly brackets: '()' | '[]'; readonly items: readonly Literal[] };

const INT = /^[-+]?\d[\d_]*$/;
const FLOAT = /^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/;
const POWER = /^(\d+)\s*\*\*\s*(\d+)$/;
const TEXT = /^"([^"\\\n]*)"$|^'([^'\\\n]*)'$/;

/** Reads a literal as Python spells it. @returns null for anything else, such as an expression */
export function parseLiteral(spelled: string): Literal | null {
  const text = spelled.trim();
  if (text === 'True' || text === 'False') return { kind: 'bool', value: text === 'True' };
  const quoted = TEXT.exec(text);
  if (quoted) return { kind: 'text', value: quoted[1] ?? quoted[2] ?? '' };
  return parseNumber(text) ?? parseTuple(text);
}

function parseNumber(text: string): Literal | null {
  const plain = Number(text.replaceAll('_', ''));
  if (INT.test(text)) return Number.isSafeInteger(plain) ? { kind: 'int', value: plain, base: null } : null;
  if (FLOAT.test(text)) return Number.isFinite(plain) ? { kind: 'float', value: plain } : null;
  const power = POWER.exec(text);
  if (!power) return null;
  const base = Number(power[1]);
  const value = base ** Number(power[2]);
  return base > 1 && Number.isSafeInteger(value) ? { kind: 'int', value, base } : null;
}

function parseTuple(text: string): Literal | null {
  const brackets =
    text.startsWith('(') && text.endsWith(')') ? '()' : text.startsWith('[') && text.endsWith(']') ? '[]' : null;
  if (brackets === null) return null;
  const inner = text.slice(1, -1).trim().replace(/,$/, '');
  // A number in brackets alone is a number, not a tuple; it is left as it is.
  if (inner === '' || (brackets === '()' && !text.includes(','))) return null;
  const items = inner.split(',').map((item) => parseLiteral(item));
  const known = items.filter((item) => item !== null && item.kind !== 'tuple');
  return known.length === items.length ? { kind: 'tuple', brackets, items: known.flatMap((item) => item ?? []) } : null;
}

/** Spells a literal for Python. */
export function formatLiteral(literal: Literal): string {
  switch (literal.kind) {
    case 'int':
      return formatInt(literal.value, literal.base);
    case 'float':
      return Number.isInteger(literal.value) && Math.abs(literal.value) < 1e21
        ? literal.value.toFixed(1)
        : String(literal.value);
    case 'bool':
      return literal.value ? 'True' : 'False';
    case 'text':
      return JSON.stringify(literal.value);
    case 'tuple': {
      const inner = literal.items.map(formatLiteral).join(', ');
      return literal.brackets === '[]' ? `[${inner}]` : `(${inner}${literal.items.length === 1 ? ',' : ''})`;
    }
  }
}

function formatInt(value: number, base: number | null): string {
  if (base === null) return String(value);
  const exponent = Math.round(Math.log(value) / Math.log(base));
  return value > 0 && base ** exponent === value ? `${base}**${exponent}` : String(value);
}

/** The number of a numeric literal; null for others. */
export function numberOf(literal: Literal): number | null {
  return literal.kind === 'int' || literal.kind === 'float' ? literal.value : null;
}
