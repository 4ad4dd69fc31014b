import type { Output } from './output.ts';
import { readScript, withCoordinator } from './with-coordinator.ts';

/** `loop`: starts a loop, waits for its unchanged run, prints THINK. Exit code 0 when it goes on. */
export async function runLoopCommand(
  options: { file: string; prefer: string | undefined; rounds: number },
  output: Output,
): Promise<number> {
  const train_py = readScript(options.file);
  const loop = await withCoordinator(async (coordinator) => {
    const call = { onProgress: (message: string) => output.note(message) };
    const start = { train_py, rounds: options.rounds, parallel: 1, prefer: options.prefer };
    let now = await coordinator.loop({ action: 'start', start }, 30, call);
    while (now.state === 'running') now = await coordinator.loop({ action: 'status', loopId: now.loop_id }, 30, call);
    return now;
  });
  output.emit(loop);
  output.say(`${loop.loop_id}: ${loop.state}. ${loop.summary}`);
  if (loop.reason !== undefined) output.say(loop.reason);
  if ('think' in loop && loop.think !== undefined) output.say(`\n${loop.think}`);
  return loop.state === 'needs_proposals' || loop.state === 'finished' ? 0 : 1;
}
