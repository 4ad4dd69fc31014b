import * as z from 'zod';
import { defineTool } from './define-tool.ts';

export const getStatus = defineTool({
  name: 'get_status',
  title: 'Wallet, budget and work in flight',
  description:
    'Payer, balance, caps, what is spent, reserved and left, experiments in flight, the latest loops and experiments, workers in doubt, and whether wallet, chain and store answer. Amounts in atomic USDC (1e-6 dollars).',
  input: z.strictObject({}),
  output: z.object({
    payer: z.string().optional(),
    chain: z.string(),
    balance_atomic: z.string().optional(),
    spent_atomic: z.string(),
    spent_24h_atomic: z.string(),
    reserved_atomic: z.string(),
    unknown_atomic: z.string(),
    left_24h_atomic: z.string(),
    caps: z.object({
      max_price_atomic: z.string(),
      budget_24h_atomic: z.string(),
      budget_total_atomic: z.string().optional(),
    }),
    in_flight: z.array(z.record(z.string(), z.unknown())),
    loops: z.array(z.object({ loop_id: z.string(), state: z.string() })),
    recent: z.array(z.record(z.string(), z.unknown())),
    workers: z.array(z.record(z.string(), z.string())).optional(),
    warnings: z.array(z.string()).optional(),
    runner_pid: z.number().optional(),
    frozen_since: z.string().optional(),
    data_dir: z.string(),
    health: z.object({ signer: z.string(), rpc: z.string(), store: z.string() }),
    next_step: z.string(),
  }),
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: true, openWorldHint: true },
  run: (_args, coordinator) => coordinator.status(),
});
