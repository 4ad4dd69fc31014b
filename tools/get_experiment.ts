import * as z from 'zod';
import { defineTool } from './define-tool.ts';
import { experiment, waitSeconds } from './shared-schemas.ts';

export const getExperiment = defineTool({
  name: 'get_experiment',
  title: 'Follow an experiment',
  description:
    'State, payment and result of one experiment; waits up to wait_seconds for its end. Costs nothing. cancel ends one of which nothing is signed yet; afterwards the worker may use the payment and it must run to its end.',
  input: z.strictObject({
    experiment_id: z.string().min(1).max(100),
    wait_seconds: waitSeconds,
    cancel: z.boolean().optional(),
  }),
  output: experiment,
  annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: true, openWorldHint: false },
  run: ({ experiment_id, wait_seconds, cancel }, coordinator, call) =>
    cancel ? coordinator.cancelExperiment(experiment_id) : coordinator.getExperiment(experiment_id, wait_seconds, call),
});
