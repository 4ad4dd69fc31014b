import { execFile } from 'node:child_process';
import * as z from 'zod';
import { sha256 } from '../../base/hash.ts';
import { ScriptFacts } from '../script/facts.ts';
import { PYTHON_READER } from '../script/python-reader.ts';
import { readTokenFacts } from '../script/token-facts.ts';

/** A cold interpreter on a busy machine takes a second; what takes longer is an attack on the reader. */
const TIMEOUT_MS = 10_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
/** Parents come again and again; a script of 30 kB makes about 300 kB of facts. */
const MAX_CACHED = 32;
/** How often an interpreter that is missing is looked for again, in milliseconds. */
const LOOK_AGAIN_MS = 300_000;

/** Reads scripts with Python's own parser where there is one (3.10 or newer), else with ours; never runs them. */
export class ScriptReader {
  readonly #command: string | null;
  readonly #maxCached: number;
  readonly #known = new Map<string, ScriptFacts>();
  #program: string | undefined;
  #missingUntilMs = 0;

  /** @param command the interpreter; null: always our own parser  @param maxCached scripts whose facts are kept */
  constructor(command: string | null = 'python3', maxCached = MAX_CACHED) {
    this.#command = command;
    this.#maxCached = maxCached;
  }

  /** Facts of each source, in their order. */
  async read(sources: readonly string[]): Promise<ScriptFacts[]> {
    const keyed = sources.map((source) => ({ source, key: sha256(source) }));
    const missing = keyed.filter(({ key }) => !this.#known.has(key));
    if (missing.length > 0) {
      const facts = await this.#readNew(missing.map(({ source }) => source));
      for (const [index, { key }] of missing.entries()) {
        const found = facts[index];
        if (found) this.#known.set(key, found);
      }
    }
    const read = keyed.map(({ source, key }) => this.#known.get(key) ?? readTokenFacts(source));
    for (const key of this.#known.keys()) {
      if (this.#known.size <= this.#maxCached) break;
      this.#known.delete(key);
    }
    return read;
  }

  async #readNew(sources: readonly string[]): Promise<ScriptFacts[]> {
    const own = () => sources.map(readTokenFacts);
    if (this.#command === null || performance.now() < this.#missingUntilMs) return own();
    const answer = await runReader(this.#program ?? this.#command, sources);
    if (answer === 'missing') this.#missingUntilMs = performance.now() + LOOK_AGAIN_MS;
    if (typeof answer === 'string') return own();
    // Version managers put a slow script before the interpreter: from now on it is asked itself.
    this.#program = answer.program;
    return answer.facts;
  }
}

const Answer = z.object({ program: z.string().min(1), facts: z.array(ScriptFacts) });

function runReader(
  command: string,
  sources: readonly string[],
): Promise<z.infer<typeof Answer> | 'missing' | 'failed'> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      ['-I', '-S', '-X', 'utf8', '-c', PYTHON_READER],
      { timeout: TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT_BYTES, env: readEnvironment() },
      (error, stdout) => {
        if (error) return resolve(error.code === 'ENOENT' || error.code === OLD_PYTHON ? 'missing' : 'failed');
        resolve(parseAnswer(stdout, sources.length) ?? 'failed');
      },
    );
    // An interpreter that ends before it has read everything is answered by its exit.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(JSON.stringify(sources));
  });
}

/** Exit status of the reader under an interpreter that is too old for it. */
const OLD_PYTHON = 3;

function parseAnswer(text: string, count: number): z.infer<typeof Answer> | undefined {
  try {
    const answer = Answer.safeParse(JSON.parse(text));
    return answer.success && answer.data.facts.length === count ? answer.data : undefined;
  } catch {
    return undefined;
  }
}

/** The reader needs to be found, nothing else: no key of the host reaches it. */
function readEnvironment(): Record<string, string> {
  return Object.fromEntries(
    ['PATH', 'HOME', 'SystemRoot'].flatMap((name) => {
      const value = process.env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
