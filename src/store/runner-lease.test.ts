import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isRunnerAlive } from './runner-lease.ts';

const leaseOf = (pid: number, until = 2_000) => ({ owner: 'test', pid, host: hostname(), until });

/** A process that has ended and whose parent never asks for it: a killed runner whose server was killed, too. */
async function createZombie(): Promise<number> {
  const parent = spawn('/bin/sh', ['-c', 'sleep 0 & echo $!; exec sleep 600'], { stdio: ['ignore', 'pipe', 'ignore'] });
  onTestFinished(() => void parent.kill('SIGKILL'));
  return new Promise((resolve) => {
    parent.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk.toString())));
  });
}

describe('isRunnerAlive', () => {
  it('believes a lease until it runs out, and that of another machine without asking', () => {
    expect(isRunnerAlive(leaseOf(process.pid), 1_000)).toBe(true);
    expect(isRunnerAlive(leaseOf(process.pid), 3_000)).toBe(false);
    expect(isRunnerAlive({ ...leaseOf(2 ** 30), host: 'elsewhere' }, 1_000)).toBe(true);
    expect(isRunnerAlive(leaseOf(2 ** 30), 1_000)).toBe(false);
  });

  it.skipIf(!existsSync('/proc/self/stat'))('knows a zombie for dead, so that nobody waits for its lease', async () => {
    const zombie = await createZombie();
    await expect.poll(() => isRunnerAlive(leaseOf(zombie), 1_000), { timeout: 10_000 }).toBe(false);
    // Its number is still taken.
    expect(process.kill(zombie, 0)).toBe(true);
  });
});
