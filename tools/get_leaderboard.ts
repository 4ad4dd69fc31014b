import * as z from 'zod';
import { defineTool } from './define-tool.ts';

export const getLeaderboard = defineTool({
  name: 'get_leaderboard',
  title: 'Ranking of results',
  description:
    'Ranks the results of runs that we paid for and checked: variants by val_bpb (lower is better), or workers by what they gave us. Shows the champion with the noise σ that gains are judged by, a sparkline of the scores in order, and where the chart and the records are.',
  input: z.strictObject({
    scope: z.enum(['variants', 'workers']).default('variants'),
    limit: z.int().min(1).max(100).default(10),
    cursor: z.string().max(20).optional().describe('next_cursor of the answer before.'),
  }),
  output: z.object({
    scope: z.string(),
    standings: z.array(
      z.object({
        rank: z.number(),
        val_bpb: z.number().optional(),
        experiment_id: z.string().optional(),
        verdict: z.string().optional(),
        description: z.string().optional(),
        worker_endpoint: z.string().optional(),
        price_usdc: z.string().optional(),
        payment_tx: z.string().optional(),
        train_hash: z.string().optional(),
        created_at: z.string().optional(),
        runs: z.number().optional(),
        scored: z.number().optional(),
        spent_usdc: z.string().optional(),
      }),
    ),
    total: z.number(),
    next_cursor: z.string().optional(),
    champion: z
      .object({
        experiment_id: z.string(),
        val_bpb: z.number(),
        runs: z.number(),
        sigma: z.number(),
        verified: z.boolean(),
      })
      .optional(),
    sparkline: z.string(),
    chart_uri: z.string(),
    chart_path: z.string().optional(),
    results_path: z.string(),
    next_step: z.string(),
  }),
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  run: (args, coordinator) => coordinator.leaderboard(args),
});
