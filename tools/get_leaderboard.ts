import * as z from 'zod';
import { defineTool } from './define-tool.ts';
import { responseFormat } from './shared-schemas.ts';

export const getLeaderboard = defineTool({
  name: 'get_leaderboard',
  title: 'Ranking of results',
  description:
    'Ranks the results of runs that we paid for and checked: variants by val_bpb (lower is better), workers, or the agents that proposed them; scope experiments lists all, newest first. Shows the champion, whether an independent worker confirmed it, the noise σ that gains are judged by, what luck alone would give, sparkline, chart and records. Scope global lists scores that workers claim, unchecked, beside our own scores at them (scored, own_*).',
  input: z.strictObject({
    scope: z.enum(['variants', 'workers', 'agents', 'experiments', 'global']).default('variants'),
    limit: z.int().min(1).max(100).default(10),
    cursor: z.string().optional().describe('next_cursor of the answer before.'),
    search: z.string().max(200).optional().describe('Lists the experiments that hold all of these words.'),
    response_format: responseFormat,
  }),
  output: z.object({
    scope: z.string(),
    // A row's fields depend on the scope; each would cost tokens in every tool list.
    standings: z.array(z.record(z.string(), z.unknown())),
    total: z.number(),
    rejected: z.record(z.string(), z.string()).optional(),
    next_cursor: z.string().optional(),
    champion: z
      .object({
        experiment_id: z.string(),
        val_bpb: z.number(),
        runs: z.number(),
        sigma: z.number(),
        verified: z.boolean(),
        luck_val_bpb: z.number().optional(),
        tier_bests: z.record(z.string(), z.number()).optional(),
      })
      .optional(),
    sparkline: z.string().optional(),
    chart_uri: z.string().optional(),
    chart_path: z.string().optional(),
    results_path: z.string().optional(),
    next_step: z.string(),
  }),
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: true },
  run: (args, coordinator) => coordinator.leaderboard(args),
});
