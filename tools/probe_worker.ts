import * as z from 'zod';
import { defineTool } from './define-tool.ts';

export const probeWorker = defineTool({
  name: 'probe_worker',
  title: 'Ask a worker for its price',
  description:
    'Asks one worker what a run costs (HTTP 402) and keeps the answer as a quote for ten minutes. Nothing is paid and no script is sent. Pass the quote_id to submit_experiment to pay at most this price to exactly this payee.',
  input: z.strictObject({
    worker: z.string().min(1).max(2_048).describe('Endpoint (https://…) or worker_id from discover_workers.'),
  }),
  output: z.object({
    worker_endpoint: z.string(),
    worker_id: z.string().optional(),
    free: z.boolean().optional(),
    is_busy: z.boolean().optional(),
    quote_id: z.string().optional(),
    price_usdc: z.string().optional(),
    price_atomic: z.string().optional(),
    asset: z.string().optional(),
    network: z.string().optional(),
    pay_to: z.string().optional(),
    flow: z.string().optional(),
    mode: z.string().optional(),
    max_timeout_s: z.number().optional(),
    run_timeout_s: z.number().optional(),
    expires_at: z.string().optional(),
    within_budget: z.boolean().optional(),
    warnings: z.array(z.string()),
    next_step: z.string(),
  }),
  annotations: { readOnlyHint: true, destructiveHint: false, idempotentHint: false, openWorldHint: true },
  run: ({ worker }, coordinator, call) => coordinator.probe(worker, call.signal),
});
