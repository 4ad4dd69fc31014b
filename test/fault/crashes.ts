import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { isAlive } from '../localnet-client.ts';

export type Role = 'runner' | 'server';

/** Where a process dies; see crash-preload.mjs. */
export type PlannedCrash =
  | {
      readonly role: Role;
      readonly event: 'commit' | 'write';
      readonly label?: string;
      /** The how-manieth such event of the process, from 1. */
      readonly n: number;
      readonly side: 'before' | 'after';
    }
  | {
      readonly role: Role;
      readonly event: 'request';
      /** Text in the head of the request, in lower case. */
      readonly label: string;
      readonly n: number;
      readonly side: 'before' | 'half' | 'after' | 'answered';
    };

/** Killed from outside, at a moment of its own. */
export interface TimedCrash {
  readonly role: Role;
  readonly event: 'time';
  readonly afterMs: number;
}

export type Crash = PlannedCrash | TimedCrash;

const Death = z.looseObject({ pid: z.int(), place: z.string() });

/** The folder through which a test tells the processes of one data folder where to die. */
export class CrashControl {
  readonly folder: string;
  #lastId = 0;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(join(folder, 'pids'), { recursive: true });
  }

  get env(): Record<string, string> {
    const preload = new URL('crash-preload.mjs', import.meta.url).href;
    return { CRASH_FOLDER: this.folder, NODE_OPTIONS: `--import=${preload}` };
  }

  /** Tells the next process of the role that gets there to die. @returns id of the plan */
  arm(crash: PlannedCrash): number {
    this.#lastId += 1;
    const path = this.#planPath(crash.role);
    writeFileSync(`${path}.new`, JSON.stringify({ ...crash, id: this.#lastId }));
    renameSync(`${path}.new`, path);
    return this.#lastId;
  }

  /** Takes a plan back. @returns false when a process is dying of it just now */
  disarm(role: Role): boolean {
    const isThere = existsSync(this.#planPath(role));
    rmSync(this.#planPath(role), { force: true });
    return isThere;
  }

  /** Where a process died of a plan, once it is gone. */
  findDeath(id: number): string | undefined {
    const path = join(this.folder, `death-${id}.json`);
    if (!existsSync(path)) return undefined;
    const { pid, place } = Death.parse(JSON.parse(readFileSync(path, 'utf8')));
    return isAlive(pid) ? undefined : place;
  }

  /** Living processes of a role, and only those of this folder: ids of dead ones are given to strangers. */
  listAlive(role: Role): number[] {
    return readdirSync(join(this.folder, 'pids'))
      .filter((name) => name.startsWith(`${role}-`))
      .map((name) => Number(name.slice(role.length + 1)))
      .filter((pid) => isAlive(pid) && this.#isOurs(pid));
  }

  /** What the processes of a role committed, in order; needs CRASH_TRACE. */
  readTrace(role: Role): string[] {
    const path = join(this.folder, `trace-${role}.log`);
    return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
  }

  #isOurs(pid: number): boolean {
    if (!existsSync('/proc/self/environ')) return true;
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`CRASH_FOLDER=${this.folder}`);
    } catch {
      return false;
    }
  }

  #planPath(role: Role): string {
    return join(this.folder, `plan-${role}.json`);
  }
}
