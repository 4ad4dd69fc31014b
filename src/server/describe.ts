import { type ListToolsResult, ToolSchema } from '@modelcontextprotocol/sdk/types.js';
import { TOOLS } from '../../tools/catalog.ts';

let described: ListToolsResult['tools'] | undefined;

/** The tool list as clients get it, made once when it is first asked for. */
export function describeTools(): ListToolsResult['tools'] {
  described ??= TOOLS.map((tool) =>
    ToolSchema.parse({
      name: tool.name,
      title: tool.title,
      description: tool.description,
      inputSchema: withoutDialect(tool.describeInput()),
      outputSchema: withoutDialect(tool.describeOutput()),
      annotations: tool.annotations,
    }),
  );
  return described;
}

/** The dialect is the protocol's default; repeating it in every schema costs tokens. */
function withoutDialect({ $schema: _dialect, ...schema }: Record<string, unknown>): Record<string, unknown> {
  return schema;
}
