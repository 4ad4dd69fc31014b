import * as z from 'zod';
import { defineTool } from './define-tool.ts';
import {
  acceptWarnings,
  config,
  edits,
  experiment,
  repeat,
  trainPath,
  trainPy,
  waitSeconds,
} from './shared-schemas.ts';

export const submitExperiment = defineTool({
  name: 'submit_experiment',
  title: 'Buy one training run',
  description:
    "Runs one variant of a train.py on a paid GPU worker and judges its val_bpb (lower is better). PAYS in USDC within the operator's caps, and sends script and config to a stranger whose status page may show them. Give the program as train_py, train_path, or base + edits. The same call again returns the same experiment and never pays twice; cheats and variants that ran before are refused. Follow it with get_experiment.",
  input: z.strictObject({
    train_py: trainPy.optional(),
    train_path: trainPath.optional(),
    base: z
      .string()
      .max(100)
      .optional()
      .describe('What edits apply to: experiment id, train_hash, "champion" or "baseline".'),
    edits: edits.optional(),
    config: config.optional(),
    worker: z
      .string()
      .min(1)
      .max(2_048)
      .default('auto')
      .describe('Endpoint or worker_id; "auto" takes the free worker with the least expected cost.'),
    quote_id: z.string().max(60).optional().describe('Quote from probe_worker to pay at most.'),
    max_price_usdc: z.number().positive().max(1_000_000).optional().describe("Most to pay, within the operator's cap."),
    idempotency_key: z
      .string()
      .regex(/^[A-Za-z0-9_-]{8,64}$/)
      .optional()
      .describe('A repeat with it returns the same experiment.'),
    hypothesis: z.string().max(1_000).optional().describe('Why it should help.'),
    agent: z.string().max(80).optional().describe('Who proposes it.'),
    repeat: repeat.describe('Run it although an equal variant ran.'),
    accept_warnings: acceptWarnings.describe('Run it although the gate warns.'),
    allow_upfront: z.boolean().optional().describe('Pay workers that want the money first and refund nothing.'),
    allow_overlap: z.boolean().optional().describe('Try another worker while a payment is open: may pay twice.'),
    allow_short_timeout: z.boolean().optional().describe('Use offers that may expire before the run ends.'),
    wait_seconds: waitSeconds,
  }),
  output: experiment,
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: true },
  run: (args, coordinator, call) => coordinator.submit(args, call),
});
