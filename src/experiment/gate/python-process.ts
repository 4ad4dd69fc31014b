import { type ChildProcess, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { PYTHON_READER } from '../script/python-reader.ts';

/** What an interpreter said, or why it said nothing. */
export type PythonAnswer =
  | { readonly kind: 'line'; readonly text: string }
  /** `missing`: there is none, or one that is too old for the reader. */
  | { readonly kind: 'ended'; readonly why: 'missing' | 'failed' };

/** A cold interpreter on a busy machine takes a second; what takes longer is an attack on the reader. */
const TIMEOUT_MS = 10_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
/** Exit status of the reader under an interpreter that is too old for it. */
const OLD_PYTHON = 3;

/**
 * An interpreter that reads scripts, one question after the other. It ends when its input does, so also when this
 * process dies, and it keeps no process alive while nothing is asked.
 */
export class PythonProcess {
  readonly #child: ChildProcess;
  readonly #input: Writable | null;
  readonly #output: Readable | null;
  #chunks: Buffer[] = [];
  #sizeBytes = 0;
  #answer: ((answer: PythonAnswer) => void) | undefined;
  #ended: PythonAnswer | undefined;

  constructor(command: string) {
    const args = ['-I', '-S', '-X', 'utf8', '-c', PYTHON_READER];
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'], env: readEnvironment() });
    const { stdin, stdout } = this.#child;
    this.#input = stdin;
    this.#output = stdout;
    this.#child.on('error', (error) => this.#end('code' in error && error.code === 'ENOENT' ? 'missing' : 'failed'));
    this.#child.on('close', (code) => this.#end(code === OLD_PYTHON ? 'missing' : 'failed'));
    // An interpreter that ends before it has read everything is answered by its exit.
    stdin?.on('error', () => undefined);
    stdout?.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  /** Whether it can be asked. */
  get isAlive(): boolean {
    return this.#ended === undefined;
  }

  /** Asks with one line and waits for one; no second question before the answer to the first. */
  async ask(question: string): Promise<PythonAnswer> {
    if (this.#ended) return this.#ended;
    this.#hold(true);
    const timer = setTimeout(() => this.end(), TIMEOUT_MS);
    const answer = await new Promise<PythonAnswer>((resolve) => {
      this.#answer = resolve;
      this.#input?.write(`${question}\n`);
    });
    clearTimeout(timer);
    this.#hold(false);
    return answer;
  }

  /** Ends it at once; a question that waits is answered with that. */
  end(): void {
    this.#child.kill('SIGKILL');
    this.#end('failed');
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#sizeBytes += chunk.length;
    if (this.#sizeBytes > MAX_OUTPUT_BYTES) this.end();
    if (chunk.at(-1) !== NEWLINE) return;
    const text = Buffer.concat(this.#chunks).toString();
    this.#chunks = [];
    this.#sizeBytes = 0;
    this.#say({ kind: 'line', text });
  }

  #end(why: 'missing' | 'failed'): void {
    this.#ended ??= { kind: 'ended', why };
    this.#say(this.#ended);
  }

  #say(answer: PythonAnswer): void {
    this.#answer?.(answer);
    this.#answer = undefined;
  }

  /** Whether this process stays for its sake. */
  #hold(isWanted: boolean): void {
    for (const part of [this.#child, this.#input, this.#output]) {
      if (part !== this.#child && !(part instanceof Socket)) continue;
      if (isWanted) part.ref();
      else part.unref();
    }
  }
}

const NEWLINE = 10;

/** The reader needs to be found, nothing else: no key of the host reaches it. */
function readEnvironment(): Record<string, string> {
  return Object.fromEntries(
    ['PATH', 'HOME', 'SystemRoot'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
