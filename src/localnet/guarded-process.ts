import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Guardian } from './guardian.ts';

export interface GuardedCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The whole environment of the process; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** Most address space of each process of the group, in MiB, where the platform can limit it. */
  readonly memoryLimitMb?: number;
}

export interface GuardedProcess {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves after the process has ended, its output is read and its group is gone. */
  readonly ended: Promise<{ readonly exitCode: number | null; readonly signal: string | null }>;
  /** Kills the whole process group, at once. */
  kill(): void;
}

// The shell waits for a line before it becomes the program: if this process dies before the guardian knows of the
// group, the shell reads the end of its input instead and nothing is left behind. macOS refuses `ulimit -v`.
const SCRIPT = 'read -r go || exit 125; [ "$0" -eq 0 ] || ulimit -v "$0" 2>/dev/null; exec "$@" </dev/null';

/** What a program wrote before it ended is read within this time. */
const OUTPUT_GRACE_MS = 1_000;

/** Starts a program in a process group of its own that cannot outlive this process. */
export function startGuarded(guardian: Guardian, command: GuardedCommand): GuardedProcess {
  const memoryLimitKib = (command.memoryLimitMb ?? 0) * 1024;
  const child: ChildProcessByStdio<Writable, Readable, Readable> = spawn(
    '/bin/sh',
    ['-c', SCRIPT, String(memoryLimitKib), command.command, ...command.args],
    { cwd: command.cwd, env: command.env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] },
  );
  child.stdin.on('error', () => {});
  const groupId = child.pid;
  const kill = () => {
    if (groupId !== undefined) killGroup(groupId);
  };
  child.once('exit', () => {
    // Processes that the program left in its group hold its output open; one that left the group would do so forever.
    kill();
    setTimeout(() => {
      child.stdout.destroy();
      child.stderr.destroy();
    }, OUTPUT_GRACE_MS).unref();
  });
  const ended = new Promise<{ exitCode: number | null; signal: string | null }>((resolve) => {
    child.once('error', () => resolve({ exitCode: null, signal: null }));
    child.once('close', (exitCode, signal) => {
      if (groupId !== undefined) guardian.release(groupId);
      resolve({ exitCode, signal });
    });
  });
  if (groupId !== undefined) {
    guardian.guard(groupId);
    child.stdin.end('go\n');
  }
  return { stdout: child.stdout, stderr: child.stderr, ended, kill };
}

function killGroup(groupId: number): void {
  try {
    process.kill(-groupId, 'SIGKILL');
  } catch {
    // The group is already gone.
  }
}
