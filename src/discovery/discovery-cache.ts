import * as z from 'zod';
import type { Log } from '../base/log.ts';
import { type AgentIdentity, formatAgentId } from './agent-identity.ts';
import type { IndexRow } from './index-row.ts';
import { Worker } from './worker.ts';

/** Where discovery keeps what it learned between processes; the store implements it. */
export interface DiscoveryCache {
  load(key: string): Promise<{ readonly value: unknown; readonly storedAtMs: number } | undefined>;
  save(key: string, value: unknown, nowMs: number): Promise<void>;
}

const StoredList = z
  .object({
    workers: z.array(Worker).readonly(),
    /** False: some agents had not answered in time, or the rate limit left them unasked. */
    isComplete: z.boolean(),
    skippedRows: z.number(),
    dismissed: z.record(z.string(), z.number()).default({}),
    /** False: the index gave no answer, and this is what the chain knew. */
    isFromIndex: z.boolean().default(true),
  })
  .readonly();
export type StoredList = z.infer<typeof StoredList>;

const AgentFacts = z
  .object({
    uri: z.string().nullable(),
    agentUrl: z.string().nullable(),
    /** Registration document as the index read it; absent when it has none. */
    content: z.unknown().optional(),
    agentWallet: z.string().nullable(),
    indexedAt: z.string().nullable(),
  })
  .readonly();
/** Where an agent's registration is, learned from a detail call. */
export type AgentFacts = z.infer<typeof AgentFacts>;

export interface Stored<T> {
  readonly value: T;
  readonly storedAtMs: number;
}

/** Beyond this, an agent's facts are not worth a row; characters of JSON. */
const MAX_FACTS_CHARS = 131_072;

/** Picks out of a row what is worth remembering. */
export function factsOfRow(row: IndexRow): AgentFacts {
  const { uri, agentUrl, content, agentWallet, indexedAt } = row;
  return { uri, agentUrl, content, agentWallet, indexedAt };
}

/** Typed access to the cache. A cache that fails costs speed, never an answer. */
export class CacheReader {
  /** Lists that were checked: the cache hands out the same object while nothing new is stored. */
  readonly #checked = new WeakMap<object, StoredList>();

  constructor(
    private readonly cache: DiscoveryCache,
    private readonly log: Log,
    /** Facts of one index are not mixed with those of another. */
    private readonly indexUrl: string,
  ) {}

  loadList(key: string): Promise<Stored<StoredList> | undefined> {
    return this.#load(`discovery:list:${this.indexUrl}:${key}`, (value) => this.#checkList(value));
  }

  saveList(key: string, list: StoredList, nowMs: number): Promise<void> {
    return this.#save(`discovery:list:${this.indexUrl}:${key}`, list, nowMs);
  }

  loadFacts(agent: AgentIdentity): Promise<Stored<AgentFacts> | undefined> {
    return this.#load(
      `discovery:agent:${this.indexUrl}:${formatAgentId(agent)}`,
      (value) => AgentFacts.safeParse(value).data,
    );
  }

  async saveFacts(agent: AgentIdentity, facts: AgentFacts, nowMs: number): Promise<void> {
    if (JSON.stringify(facts).length > MAX_FACTS_CHARS) return;
    await this.#save(`discovery:agent:${this.indexUrl}:${formatAgentId(agent)}`, facts, nowMs);
  }

  #checkList(value: unknown): StoredList | undefined {
    if (typeof value !== 'object' || value === null) return undefined;
    const list = this.#checked.get(value) ?? StoredList.safeParse(value).data;
    if (list) this.#checked.set(value, list);
    return list;
  }

  async #load<T>(key: string, check: (value: unknown) => T | undefined): Promise<Stored<T> | undefined> {
    try {
      const stored = await this.cache.load(key);
      const value = check(stored?.value);
      // Of another version, or damaged: as if it were not there.
      return stored && value !== undefined ? { value, storedAtMs: stored.storedAtMs } : undefined;
    } catch (error) {
      this.log.warn({ key, error }, 'discovery cache could not be read');
      return undefined;
    }
  }

  async #save(key: string, value: unknown, nowMs: number): Promise<void> {
    try {
      await this.cache.save(key, value, nowMs);
    } catch (error) {
      this.log.warn({ key, error }, 'discovery cache could not be written');
    }
  }
}
