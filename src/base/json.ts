import * as z from 'zod';

/** A value that JSON can hold. */
export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue };

/** Parses an unknown value as a JSON object. */
export const JsonObject: z.ZodType<JsonObject> = z.record(z.string(), z.json());

/** No honest document nests deeper; readers that recurse overflow on one that does. */
const MAX_DEPTH = 64;

/** Whether a parsed value of a stranger nests no deeper than honest documents do. */
export function isShallow(value: unknown): boolean {
  let level = [value];
  for (let depth = 0; depth <= MAX_DEPTH; depth += 1) {
    level = level.flatMap((entry) => (typeof entry === 'object' && entry !== null ? Object.values(entry) : []));
    if (level.length === 0) return true;
  }
  return false;
}

/** Reads JSON text that we wrote ourselves through the schema of what it holds. @throws when it does not hold that */
export function readJson<T>(schema: z.ZodType<T>, text: string): T {
  return schema.parse(JSON.parse(text));
}
