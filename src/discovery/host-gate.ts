/** Requests at once over all hosts (design.md section 9). */
const MAX_TOTAL = 128;
/** A stranger's host is asked few things at once. */
const MAX_PER_HOST = 4;
/** Hosts that the operator allow-listed are the operator's own: a local network with its workers behind one port. */
const MAX_PER_OWN_HOST = 64;

interface Waiting {
  readonly host: string;
  readonly limit: number;
  readonly start: () => void;
}

/** Bounds how many requests run at once, in total and per host, in the order they came. */
export class HostGate {
  readonly #running = new Map<string, number>();
  #total = 0;
  #waiting: Waiting[] = [];

  /**
   * Runs the task when its host has room.
   * @param isOwn whether the operator allow-listed the host
   * @param signal what still waits when it fires is started at once, to fail by itself
   * @param isFirst whether it goes before all that waits: what tells whom to ask next
   */
  async run<T>(host: string, isOwn: boolean, signal: AbortSignal, task: () => Promise<T>, isFirst = false): Promise<T> {
    await this.#enter({ host, limit: isOwn ? MAX_PER_OWN_HOST : MAX_PER_HOST }, signal, isFirst);
    try {
      return await task();
    } finally {
      this.#total -= 1;
      const left = (this.#running.get(host) ?? 1) - 1;
      if (left > 0) this.#running.set(host, left);
      else this.#running.delete(host);
      this.#startNext();
    }
  }

  #enter(place: Omit<Waiting, 'start'>, signal: AbortSignal, isFirst: boolean): Promise<void> {
    return new Promise((resolve) => {
      const start = () => {
        signal.removeEventListener('abort', giveUp);
        this.#total += 1;
        this.#running.set(place.host, (this.#running.get(place.host) ?? 0) + 1);
        resolve();
      };
      const waiting: Waiting = { ...place, start };
      const giveUp = () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        start();
      };
      if (signal.aborted || this.#hasRoom(waiting)) return start();
      signal.addEventListener('abort', giveUp, { once: true });
      if (isFirst) this.#waiting.unshift(waiting);
      else this.#waiting.push(waiting);
    });
  }

  #hasRoom({ host, limit }: Waiting): boolean {
    return this.#total < MAX_TOTAL && (this.#running.get(host) ?? 0) < limit;
  }

  #startNext(): void {
    const index = this.#waiting.findIndex((waiting) => this.#hasRoom(waiting));
    if (index < 0) return;
    const [next] = this.#waiting.splice(index, 1);
    next?.start();
  }
}
