import * as z from 'zod';
import { InputError } from '../src/base/errors.ts';
import type { LoopAction } from '../src/coordinator.ts';
import { defineTool } from './define-tool.ts';
import { acceptWarnings, config, edits, repeat, similar, trainPath, trainPy, waitSeconds } from './shared-schemas.ts';

const input = z.strictObject({
  action: z.enum(['start', 'continue', 'status', 'stop']),
  loop_id: z.string().max(100).optional().describe('Needed by all actions but start.'),
  train_py: trainPy.optional(),
  train_path: trainPath.optional(),
  proposals: z
    .array(
      z.strictObject({
        base: z.string().max(100).optional().describe('Default "champion".'),
        edits: edits.optional(),
        train_py: trainPy.optional(),
        config: config.optional(),
        hypothesis: z.string().min(1).max(1_000).optional().describe('Idea, or id of one in think.'),
        priority: z.int().min(0).max(5).optional().describe('1 first; 0 drops the idea.'),
        repeat,
        accept_warnings: acceptWarnings,
      }),
    )
    .min(1)
    .max(50)
    .optional()
    .describe(
      'For continue: one experiment each, as edits of the champion or a whole train_py; hypothesis alone: for later.',
    ),
  insights: z
    .array(
      z.strictObject({
        text: z.string().min(1).max(1_000),
        evidence: z.array(z.string().max(100)).min(1).max(20).describe('Experiment ids.'),
        confidence: z.number().min(0).max(1).optional(),
        supersedes: z.string().max(20).optional().describe('Id of one in think.'),
      }),
    )
    .max(20)
    .optional()
    .describe('For continue: what was learned; think shows it.'),
  rounds: z.int().min(1).max(1_000).default(10).describe('Proposals to run.'),
  budget_usdc: z.number().positive().max(1_000_000).optional().describe("Default: what is left of the day's cap."),
  max_price_usdc: z.number().positive().max(1_000_000).optional().describe('Most to pay for one run.'),
  parallel: z.int().min(1).max(64).default(1).describe('Runs at once, on different workers.'),
  prefer: z.string().max(2_048).optional().describe('Endpoint of the worker to use first.'),
  agent: z.string().max(80).optional(),
  mode: z.enum(['agent', 'auto']).default('agent').describe('auto: a built-in proposer designs all variants.'),
  audit_share: z.number().min(0).max(1).default(0.1).describe('Share of runs repeated elsewhere as audits.'),
  target_val_bpb: z.number().optional().describe('End when the champion reaches it.'),
  deadline: z.iso.datetime().optional(),
  dry_run: z.boolean().default(false).describe('Only estimate cost and time.'),
  wait_seconds: waitSeconds,
});

export const runLoop = defineTool({
  name: 'run_loop',
  title: 'Run an experiment loop',
  description:
    "A series of paid experiments around one script, THINK → CLAIM → RUN → PUBLISH. start runs the unchanged script first (PAYS, within budget_usdc and the operator's caps), then answers needs_proposals with `think`: all you need to design the next variants. Answer with continue and proposals; repeat until finished. Arguments from rounds on are for start. status waits for progress; stop lets running experiments end and starts no more.",
  input,
  output: z.object({
    loop_id: z.string(),
    state: z.string(),
    summary: z.string(),
    rounds_done: z.number(),
    rounds: z.number(),
    queued: z.number(),
    in_flight: z.number(),
    extra_runs: z.number(),
    best: z.object({ experiment_id: z.string(), val_bpb: z.number(), verified: z.boolean() }).optional(),
    baseline_val_bpb: z.number().optional(),
    spent_usdc: z.string(),
    reserved_usdc: z.string(),
    remaining_usdc: z.string(),
    results: z.array(z.record(z.string(), z.unknown())),
    results_left_out: z.number(),
    refused: z
      .array(z.object({ proposal: z.number(), code: z.string(), reason: z.string(), next_step: z.string() }))
      .optional(),
    similar: similar,
    estimate: z.record(z.string(), z.unknown()).optional(),
    reason: z.string().optional(),
    reason_code: z.string().optional(),
    think: z.string().optional(),
    next_step: z.string(),
  }),
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: true },
  run: (args, coordinator, call) => coordinator.loop(toAction(args), args.wait_seconds, call),
});

function toAction(args: z.infer<typeof input>): LoopAction {
  if (args.action === 'start') return { action: args.dry_run ? 'estimate' : 'start', start: args };
  const loopId = args.loop_id;
  if (loopId === undefined)
    throw new InputError(
      'bad_arguments',
      `run_loop ${args.action} needs loop_id. Nothing was done.`,
      'Use the loop_id that start gave; get_status lists the latest.',
    );
  if (args.action !== 'continue') return { action: args.action, loopId };
  if (!args.proposals && !args.insights)
    throw new InputError(
      'bad_arguments',
      'run_loop continue needs proposals or insights. Nothing was done.',
      'Send at least one proposal with edits or train_py.',
    );
  return { action: 'continue', loopId, proposals: args.proposals ?? [], insights: args.insights };
}
