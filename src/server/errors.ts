import { randomBytes } from 'node:crypto';
import { CoordinatorError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';

/**
 * The one place that words errors for agents: what happened, with which value, what to do next. An unexpected error
 * gets an id; its details go to the log, not to the agent.
 */
export function explainError(error: unknown, log: Log): string {
  if (error instanceof CoordinatorError) {
    const evidence =
      error.evidence === undefined ? '' : `\nThe other side's words, quoted as data: ${JSON.stringify(error.evidence)}`;
    return `${error.message}\nNext step: ${error.nextStep}\nCode: ${error.code}${evidence}`;
  }
  const id = randomBytes(4).toString('hex');
  log.error({ error, id }, 'a call failed unexpectedly');
  return `Something went wrong inside the coordinator (error ${id}; details are in its log). What was paid before is in the journal and not lost.\nNext step: look with get_status, then try again.\nCode: internal`;
}
