import * as z from 'zod';

/**
 * What a reader of a script found in it: the same from Python's own parser and from ours, so that one set of rules
 * judges both. Texts are normal forms, comparable only within one reader.
 */
const ImportedName = z.object({
  module: z.string(),
  /** Null for `import module`. */
  name: z.string().nullable(),
  /** The name that it has here. */
  as: z.string(),
});
export type ImportedName = z.infer<typeof ImportedName>;

const CallArgument = z.object({
  /** Null for a positional one. */
  name: z.string().nullable(),
  /** Its value where it is a text literal, with U+0000 for what an f-string fills in; else null. */
  text: z.string().nullable(),
});
export type CallArgument = z.infer<typeof CallArgument>;

const Statement = z.object({
  line: z.int(),
  /** Of a compound statement its head alone. Without comments, white space, and other spellings of the same. */
  text: z.string(),
  /** Functions and classes around it, such as `GPT.forward`; empty in the main program. */
  scope: z.string(),
  /** Every variable that it mentions. */
  names: z.array(z.string()),
  /** Variables, functions and classes that it defines. */
  binds: z.array(z.string()),
  /** What it changes a part of: `prepare.TIME_BUDGET`, `globals()[]`, `train_data[]`. */
  mutates: z.array(z.string()),
  imports: z.array(ImportedName),
  /** Dotted names, the longest each; one that hangs on an expression starts with a dot. */
  paths: z.array(z.string()),
  calls: z.array(z.object({ path: z.string(), args: z.array(CallArgument) })),
  /** Text literals, joined where they are written side by side or added. */
  strings: z.array(z.string()),
});
export type Statement = z.infer<typeof Statement>;

export const ScriptFacts = z.object({
  /** Why it does not parse; null when it does. */
  fault: z.object({ line: z.int(), message: z.string() }).nullable(),
  statements: z.array(Statement),
});
export type ScriptFacts = z.infer<typeof ScriptFacts>;
