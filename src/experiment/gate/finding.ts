import type { JsonObject } from '../../base/json.ts';
import type { ScriptFacts, Statement } from '../script/facts.ts';
import type { Task } from '../task-schema.ts';

/** Something that a rule has against a variant. */
export interface Finding {
  /** Stable name of the rule, snake_case. */
  readonly rule: string;
  readonly verdict: 'warn' | 'refuse';
  /** In the variant's source, from 1; null where it is about the config or about something that is gone. */
  readonly line: number | null;
  /** One sentence without its full stop. */
  readonly reason: string;
}

/** What rules look at. */
export interface RuleInput {
  readonly task: Task;
  readonly variant: Script;
  /** What the variant was made from: what that already does is not new. Null for the first source of a lineage. */
  readonly parent: Script | null;
}

export interface Script {
  readonly source: string;
  readonly config: JsonObject;
  readonly facts: ScriptFacts;
}

const MAX_QUOTED_CHARS = 100;

/** A piece of the caller's own source or config inside our sentence. */
export function quote(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED_CHARS ? `${text.slice(0, MAX_QUOTED_CHARS - 1)}…` : text);
}

/** Items that the variant has more often than its parent; all of them without a parent. */
export function findNew<T>(items: readonly T[], parentItems: readonly T[], keyOf: (item: T) => string): T[] {
  const known = new Map<string, number>();
  for (const item of parentItems) known.set(keyOf(item), (known.get(keyOf(item)) ?? 0) + 1);
  return items.filter((item) => {
    const left = known.get(keyOf(item)) ?? 0;
    known.set(keyOf(item), left - 1);
    return left <= 0;
  });
}

/** Statements of the variant that its parent does not have, by their normal form. */
export function findNewStatements(
  variant: readonly Statement[],
  parent: readonly Statement[] | undefined,
): readonly Statement[] {
  return findNew(variant, parent ?? [], ({ text }) => text);
}
