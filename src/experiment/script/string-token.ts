/** Start of a string literal: its prefix and its quotes. */
export const STRING_START = /([rRbBuUfFtT]{0,2})("""|'''|"|')/y;

export interface ScannedString {
  /** Index behind the closing quotes. */
  readonly end: number;
  /** What it says, with U+0000 in place of what an f-string fills in. */
  readonly value: string;
  readonly filled: readonly string[] | null;
}

/** Reads a string literal from its prefix on. @returns null when it is never closed */
export function scanString(source: string, start: number, prefix: string, quotes: string): ScannedString | null {
  const isRaw = /r/i.test(prefix);
  const isFilled = /[ft]/i.test(prefix);
  const filled: string[] = [];
  let value = '';
  let at = start + prefix.length + quotes.length;
  while (at < source.length) {
    if (source.startsWith(quotes, at)) return { end: at + quotes.length, value, filled: isFilled ? filled : null };
    const character = source[at] ?? '';
    if (character === '\n' && quotes.length === 1) return null;
    if (character === '\\') {
      const escaped = readEscape(source, at);
      value += isRaw ? escaped.text : escaped.value;
      at += escaped.text.length;
    } else if (isFilled && (character === '{' || character === '}') && source[at + 1] === character) {
      value += character;
      at += 2;
    } else if (isFilled && character === '{') {
      const end = findEndOfFilled(source, at + 1, quotes);
      if (!end) return null;
      filled.push(source.slice(at + 1, end.expression));
      value += '\0';
      at = end.brace + 1;
    } else {
      value += character;
      at += 1;
    }
  }
  return null;
}

const SIMPLE_ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
  '\\': '\\',
  "'": "'",
  '"': '"',
  '\n': '',
};
const CODED = /^\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U00([0-9a-fA-F]{6})|([0-7]{1,3}))/;

function readEscape(source: string, at: number): { text: string; value: string } {
  const coded = CODED.exec(source.slice(at, at + 10));
  if (coded) {
    const [text, byte, short, long, octal] = coded;
    const code = octal === undefined ? Number.parseInt(byte ?? short ?? long ?? '', 16) : Number.parseInt(octal, 8);
    return { text, value: code <= 0x10ffff ? String.fromCodePoint(code) : text };
  }
  const next = source[at + 1] ?? '';
  return { text: `\\${next}`, value: SIMPLE_ESCAPES[next] ?? `\\${next}` };
}

/** Where a filled-in expression ends, before its conversion and format, and where its brace closes. */
function findEndOfFilled(
  source: string,
  start: number,
  quotes: string,
): { expression: number; brace: number } | undefined {
  let depth = 0;
  let expression: number | undefined;
  for (let at = start; at < source.length; at += 1) {
    const character = source[at] ?? '';
    const isFormat = expression !== undefined;
    if (isFormat ? source.startsWith(quotes, at) : character === '\n' && quotes.length === 1) return undefined;
    if (!isFormat && (character === '"' || character === "'")) {
      const end = source.indexOf(character, at + 1);
      if (end < 0) return undefined;
      at = end;
    } else if (character === '}' && depth === 0) return { expression: expression ?? at, brace: at };
    else if ('([{'.includes(character)) depth += 1;
    else if (')]}'.includes(character)) depth -= 1;
    else if (depth === 0 && (character === ':' || /^![rsa][:}]/.test(source.slice(at, at + 3)))) expression ??= at;
  }
  return undefined;
}
