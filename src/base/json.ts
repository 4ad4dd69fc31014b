import * as z from 'zod';

/** A value that JSON can hold. */
export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue };

/** Parses an unknown value as a JSON object. */
export const JsonObject: z.ZodType<JsonObject> = z.record(z.string(), z.json());

/** Reads JSON text that we wrote ourselves through the schema of what it holds. @throws when it does not hold that */
export function readJson<T>(schema: z.ZodType<T>, text: string): T {
  return schema.parse(JSON.parse(text));
}
