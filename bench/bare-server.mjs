// The yardstick of bench/startup.mjs: the least that a server with five tools can be, unbundled, as a tutorial has it.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import * as z from 'zod';

const TOOLS = ['discover', 'probe', 'submit', 'follow', 'rank'];

const server = new McpServer({ name: 'bare-server', version: '0.0.0' });
for (const name of TOOLS) {
  server.registerTool(
    name,
    {
      title: name,
      description: `Stands for a tool that can ${name}.`,
      inputSchema: z.strictObject({
        id: z.string().max(100).optional().describe('What it is about.'),
        limit: z.int().min(1).max(100).default(10).describe('At most so many.'),
        wait_seconds: z.number().min(0).max(40).default(30),
      }),
      outputSchema: z.strictObject({ rows: z.array(z.strictObject({ id: z.string(), value: z.number() })) }),
    },
    async () => ({ content: [], structuredContent: { rows: [] } }),
  );
}
await server.connect(new StdioServerTransport());
