import { type ChildProcess, spawn } from 'node:child_process';
import { LocalnetPartError } from './errors.ts';

/**
 * Outlives this process by a moment: kills the process groups that it was told of and removes the folder as soon as
 * its standard input ends, however this process ended (kill -9 included).
 */
export interface Guardian {
  readonly folder: string;
  /** Asks that the process group be killed when this process is gone. */
  guard(groupId: number): void;
  /** Takes a group that has ended off the list: its number may be given to a stranger. */
  release(groupId: number): void;
  /** Kills what is still listed, removes the folder, resolves when both are done. */
  end(): Promise<void>;
  /** Resolves when the guardian has died without being asked to. */
  readonly died: Promise<LocalnetPartError>;
}

// A shell, not Node: it starts in a millisecond and needs one megabyte. $0 is the folder. A killed process may still
// be writing for a moment, so the removal is tried again.
const SCRIPT = `
trap '' HUP INT TERM
groups=' '
while read -r action group; do
  case $action in
    guard) groups="$groups$group " ;;
    release) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
tries=0
while [ -e "$0" ] && [ $tries -lt 100 ]; do
  rm -rf -- "$0" 2>/dev/null || sleep 0.1
  tries=$((tries + 1))
done
`;

/** Starts the guardian of a folder that exists. */
export function startGuardian(folder: string): Guardian {
  const child = spawn('/bin/sh', ['-c', SCRIPT, folder], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = whenEnded(child);
  let isEnding = false;
  // Without a listener a dead guardian would end this process with EPIPE.
  child.stdin.on('error', () => {});
  const died = new Promise<LocalnetPartError>((resolve) => {
    void ended.then(() => {
      if (!isEnding) resolve(new LocalnetPartError('guardian', 'ended; nothing would clean up after a crash'));
    });
  });
  return {
    folder,
    guard: (groupId) => void child.stdin.write(`guard ${groupId}\n`),
    release: (groupId) => void child.stdin.write(`release ${groupId}\n`),
    end: async () => {
      isEnding = true;
      child.stdin.end();
      await ended;
    },
    died,
  };
}

/** Resolves when a child has ended or could not be started. */
export function whenEnded(child: ChildProcess): Promise<{ exitCode: number | null; signal: string | null }> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ exitCode: null, signal: null }));
    child.once('close', (exitCode, signal) => resolve({ exitCode, signal }));
  });
}
