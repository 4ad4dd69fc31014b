import * as z from 'zod';
import { sha256 } from '../../base/hash.ts';
import { ScriptFacts } from '../script/facts.ts';
import { readTokenFacts } from '../script/token-facts.ts';
import { PythonProcess } from './python-process.ts';

/** Parents come again and again; a script of 30 kB makes about 300 kB of facts. */
const MAX_CACHED = 32;
/** How often an interpreter that is missing is looked for again, in milliseconds. */
const LOOK_AGAIN_MS = 300_000;
/** Starting an interpreter takes longer than reading a script: it is kept for the next one, so many milliseconds. */
const KEEP_MS = 30_000;

/** Reads scripts with Python's own parser where there is one (3.10 or newer), else with ours; never runs them. */
export class ScriptReader {
  readonly #command: string | null;
  readonly #maxCached: number;
  readonly #known = new Map<string, ScriptFacts>();
  #program: string | undefined;
  #idle: PythonProcess | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
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
    const python = this.#takeIdle() ?? new PythonProcess(this.#program ?? this.#command);
    const said = await python.ask(JSON.stringify(sources));
    const answer = said.kind === 'line' ? parseAnswer(said.text, sources.length) : undefined;
    if (said.kind === 'ended' && said.why === 'missing') this.#missingUntilMs = performance.now() + LOOK_AGAIN_MS;
    if (!answer) {
      python.end();
      return own();
    }
    this.#keep(python);
    // Version managers put a slow script before the interpreter: from now on it is asked itself.
    this.#program = answer.program;
    return answer.facts;
  }

  /** Ends the interpreter that waits for the next script. */
  close(): void {
    this.#takeIdle()?.end();
  }

  #takeIdle(): PythonProcess | undefined {
    const python = this.#idle;
    clearTimeout(this.#idleTimer);
    this.#idle = undefined;
    return python?.isAlive ? python : undefined;
  }

  /** One waits, whatever ran at the same time. */
  #keep(python: PythonProcess): void {
    this.close();
    this.#idle = python;
    this.#idleTimer = setTimeout(() => this.close(), KEEP_MS).unref();
  }
}

const Answer = z.object({ program: z.string().min(1), facts: z.array(ScriptFacts) });

function parseAnswer(text: string, count: number): z.infer<typeof Answer> | undefined {
  try {
    const answer = Answer.safeParse(JSON.parse(text));
    return answer.success && answer.data.facts.length === count ? answer.data : undefined;
  } catch {
    return undefined;
  }
}
