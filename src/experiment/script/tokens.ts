import { STRING_START, scanString } from './string-token.ts';

/** What a Python source is made of. Comments, blank lines and line breaks within brackets are no tokens. */
export interface Token {
  readonly kind: 'name' | 'number' | 'string' | 'op' | 'newline' | 'indent' | 'dedent';
  /** As the source spells it. */
  readonly text: string;
  /** From 1. */
  readonly line: number;
  /** Of a string: what it says, with U+0000 in place of what an f-string fills in. */
  readonly value?: string;
  /** Of an f-string: the expressions that it fills in, as spelled. */
  readonly filled?: readonly string[];
}

/** Something that no Python reads. */
export interface SyntaxFault {
  readonly line: number;
  readonly message: string;
}

const NAME = /[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}_]*/uy;
const NUMBER =
  /0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|(?:\d(?:_?\d)*\.?(?:\d(?:_?\d)*)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?[jJ]?/y;
const OPERATOR = /\*\*=|\/\/=|>>=|<<=|\.\.\.|!=|->|:=|[+\-*/%&|^@<>=]=|\*\*|\/\/|<<|>>|[-+*/%&|^~@<>=()[\]{},:;.!]/y;
const OPENING = new Map([
  ['(', ')'],
  ['[', ']'],
  ['{', '}'],
]);
const CLOSING: ReadonlySet<string> = new Set(OPENING.values());
/** Deeper nesting is a program that attacks its reader. */
const MAX_NESTING = 200;

/** Splits a source into tokens, as far as they can be read, and names the first thing that cannot be. */
export function tokenize(source: string): { tokens: Token[]; fault: SyntaxFault | null } {
  const reader = new Reader(source);
  const fault = reader.read();
  return { tokens: reader.tokens, fault };
}

class Reader {
  readonly tokens: Token[] = [];
  readonly #source: string;
  readonly #open: { closer: string; line: number }[] = [];
  readonly #indents = [0];
  #at = 0;
  #line = 1;
  #isLineStart = true;

  constructor(source: string) {
    this.#source = source.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n');
  }

  read(): SyntaxFault | null {
    while (this.#at < this.#source.length) {
      const fault = this.#isLineStart && this.#open.length === 0 ? this.#readIndent() : this.#readToken();
      if (fault) return fault;
    }
    const open = this.#open.at(-1);
    if (open) return { line: open.line, message: 'a bracket is never closed' };
    this.#endLine();
    for (let level = 1; level < this.#indents.length; level += 1) this.#push('dedent', '');
    return null;
  }

  #push(kind: Token['kind'], text: string, more: Pick<Token, 'value' | 'filled'> = {}): void {
    this.tokens.push({ kind, text, line: this.#line, ...more });
  }

  #endLine(): void {
    const last = this.tokens.at(-1);
    if (last && last.kind !== 'newline' && last.kind !== 'indent' && last.kind !== 'dedent') this.#push('newline', '');
  }

  #readIndent(): SyntaxFault | null {
    let width = 0;
    for (; ; this.#at += 1) {
      const character = this.#source[this.#at];
      if (character === ' ') width += 1;
      else if (character === '\t') width = width - (width % 8) + 8;
      else if (character === '\f') width = 0;
      else break;
    }
    this.#isLineStart = false;
    const next = this.#source[this.#at];
    if (next === undefined || next === '\n' || next === '#') return null;
    const current = this.#indents.at(-1) ?? 0;
    if (width > current) {
      this.#indents.push(width);
      if (this.#indents.length > MAX_NESTING) return { line: this.#line, message: 'blocks are nested too deeply' };
      this.#push('indent', '');
    }
    while (width < (this.#indents.at(-1) ?? 0)) {
      this.#indents.pop();
      this.#push('dedent', '');
    }
    return width === (this.#indents.at(-1) ?? 0)
      ? null
      : { line: this.#line, message: 'unindent does not match any outer indentation level' };
  }

  #readToken(): SyntaxFault | null {
    const character = this.#source[this.#at] ?? '';
    if (character === '\n') {
      if (this.#open.length === 0) {
        this.#endLine();
        this.#isLineStart = true;
      }
      this.#at += 1;
      this.#line += 1;
      return null;
    }
    if (character === ' ' || character === '\t' || character === '\f') {
      this.#at += 1;
      return null;
    }
    if (character === '#') {
      const end = this.#source.indexOf('\n', this.#at);
      this.#at = end < 0 ? this.#source.length : end;
      return null;
    }
    if (character === '\\' && this.#source[this.#at + 1] === '\n') {
      this.#at += 2;
      this.#line += 1;
      return null;
    }
    const fault = this.#readString();
    return fault === undefined ? this.#readWord() : fault;
  }

  /** @returns undefined when no string starts here */
  #readString(): SyntaxFault | null | undefined {
    STRING_START.lastIndex = this.#at;
    const start = STRING_START.exec(this.#source);
    if (!start) return undefined;
    const scanned = scanString(this.#source, this.#at, start[1] ?? '', start[2] ?? '"');
    if (!scanned) return { line: this.#line, message: 'a string is never closed' };
    const text = this.#source.slice(this.#at, scanned.end);
    this.#push('string', text, { value: scanned.value, ...(scanned.filled ? { filled: scanned.filled } : {}) });
    this.#at = scanned.end;
    this.#line += text.split('\n').length - 1;
    return null;
  }

  #readWord(): SyntaxFault | null {
    for (const [kind, pattern] of [
      ['name', NAME],
      ['number', NUMBER],
      ['op', OPERATOR],
    ] as const) {
      pattern.lastIndex = this.#at;
      const text = pattern.exec(this.#source)?.[0];
      if (text === undefined) continue;
      const fault = kind === 'op' ? this.#bracket(text) : null;
      if (fault) return fault;
      // Python takes other forms of a letter for the letter itself.
      this.#push(kind, kind === 'name' ? text.normalize('NFKC') : text);
      this.#at += text.length;
      return null;
    }
    return { line: this.#line, message: 'a character that no Python source holds outside of strings' };
  }

  #bracket(text: string): SyntaxFault | null {
    const closer = OPENING.get(text);
    if (closer !== undefined) {
      this.#open.push({ closer, line: this.#line });
      return this.#open.length > MAX_NESTING ? { line: this.#line, message: 'brackets are nested too deeply' } : null;
    }
    if (!CLOSING.has(text)) return null;
    return this.#open.pop()?.closer === text ? null : { line: this.#line, message: `'${text}' closes nothing` };
  }
}
