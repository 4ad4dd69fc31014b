import * as z from 'zod';
import { CoordinatorError } from '../src/base/errors.ts';
import type { CallContext } from '../src/coordinator/experiments.ts';
import type { Coordinator } from '../src/coordinator.ts';

/** What hosts decide on whether to ask a person first; all four are written out. */
export interface ToolAnnotations {
  readonly readOnlyHint: boolean;
  readonly destructiveHint: boolean;
  readonly idempotentHint: boolean;
  readonly openWorldHint: boolean;
}

interface ToolDefinition<Input extends z.ZodObject, Output extends z.ZodObject> {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly input: Input;
  readonly output: Output;
  readonly annotations: ToolAnnotations;
  readonly run: (args: z.infer<Input>, coordinator: Coordinator, call: CallContext) => Promise<z.input<Output>>;
}

/** A tool as the server needs it: its listing, and a call that takes whatever a client sends. */
export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly annotations: ToolAnnotations;
  /** JSON Schemas, made when they are first asked for. */
  describeInput(): Record<string, unknown>;
  describeOutput(): Record<string, unknown>;
  /** @throws BadArgumentsError, and what the coordinator throws */
  call(args: unknown, coordinator: Coordinator, call: CallContext): Promise<Record<string, unknown>>;
}

/** Arguments that a tool does not take; names each. */
export class BadArgumentsError extends CoordinatorError {
  override readonly name = 'BadArgumentsError';
  readonly code = 'bad_arguments';
  readonly nextStep: string;
  constructor(tool: string, problems: readonly string[], known: readonly string[]) {
    super(`${tool} cannot be called like this: ${problems.join('; ')}. Nothing was done.`);
    this.nextStep = `Call ${tool} again with the arguments it knows: ${known.join(', ') || 'none'}.`;
  }
}

/** Makes a tool of its definition. */
export function defineTool<Input extends z.ZodObject, Output extends z.ZodObject>(
  definition: ToolDefinition<Input, Output>,
): Tool {
  const { name, title, description, annotations, input, output } = definition;
  return {
    name,
    title,
    description,
    annotations,
    describeInput: () => describeSchema(input, 'input'),
    describeOutput: () => describeSchema(output, 'output'),
    async call(args, coordinator, call) {
      const parsed = input.safeParse(args ?? {});
      if (!parsed.success)
        throw new BadArgumentsError(name, parsed.error.issues.map(describeIssue), Object.keys(input.shape));
      return output.parse(await definition.run(parsed.data, coordinator, call));
    },
  };
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys')
    return `unknown argument ${issue.keys.map((key) => JSON.stringify(key.slice(0, 60))).join(', ')}${path === '' ? '' : ` in ${path}`}`;
  return `${path === '' ? 'the arguments' : path}: ${issue.message}`;
}

const LENGTHS = ['maxLength', 'minLength', 'maxItems', 'minItems'] as const;

function describeSchema(schema: z.ZodObject, io: 'input' | 'output'): Record<string, unknown> {
  return z.toJSONSchema(schema, {
    io,
    override: ({ jsonSchema }) => {
      // An empty schema says nothing and is warned about; leaving it out says the same.
      const { additionalProperties } = jsonSchema;
      if (typeof additionalProperties === 'object' && Object.keys(additionalProperties).length === 0)
        delete jsonSchema.additionalProperties;
      delete jsonSchema.propertyNames;
      // What an answer always holds is said where it is documented; in every tool list it would cost tokens.
      if (io === 'output') delete jsonSchema.required;
      // So would lengths and the long patterns of dates: who exceeds them is told so by name.
      for (const limit of LENGTHS) delete jsonSchema[limit];
      if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  });
}
