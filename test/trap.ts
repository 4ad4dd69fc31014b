import { createServer, isIP, type Server, Socket } from 'node:net';
import * as z from 'zod';
import type { Lookup } from '../src/net/http.ts';

const Address = z.object({ port: z.number() });
const Target = z.looseObject({
  host: z.string().optional(),
  port: z.coerce.number().optional(),
  lookup: z.custom<Lookup>((value) => typeof value === 'function').optional(),
});

/** Where public addresses lead in tests: nothing leaves this machine. */
const PUBLIC_STAND_IN = '127.99.99.99';
const LOOPBACK = /^(127\.|0\.0\.0\.0$|::1?$|::ffff:(127\.|7f))/i;

/**
 * A server that nobody may reach, on every address of this machine, and a watch over every connection that this process
 * tries to make. Public addresses lead to a stand-in on loopback, which is the trap as well.
 */
export class Trap {
  /** What this process tried to connect to at the trap's port, once that was an address. */
  readonly attempts: string[] = [];
  readonly #arrivals: string[] = [];
  readonly #server: Server;
  readonly #unwatch: () => void;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.#arrivals.push((socket.localAddress ?? '').replace(/^::ffff:/, ''));
      socket.on('error', () => {});
      socket.resetAndDestroy();
    });
    this.#unwatch = watchConnections((address, port) => {
      if (port === this.port) this.attempts.push(address);
    });
  }

  static async open(): Promise<Trap> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ host: '::', port: 0 }, resolve));
    return new Trap(server);
  }

  get port(): number {
    return Address.parse(this.#server.address()).port;
  }

  /** Addresses of this machine at which somebody arrived. */
  get arrivals(): readonly string[] {
    return this.#arrivals;
  }

  reset(): void {
    this.attempts.length = 0;
    this.#arrivals.length = 0;
  }

  async close(): Promise<void> {
    this.#unwatch();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Tells every connection that is tried, at the moment when its address is known. @returns what ends it */
function watchConnections(tell: (address: string, port: number) => void): () => void {
  const original = Socket.prototype.connect;
  const watched = function (this: Socket, ...args: unknown[]): unknown {
    const options: unknown = Array.isArray(args[0]) ? args[0][0] : args[0];
    const { host = '', port = 0, lookup } = Target.safeParse(options).data ?? {};
    if (isIP(host) > 0) {
      tell(host, port);
      if (!LOOPBACK.test(host)) {
        process.nextTick(() => this.destroy(new Error('tests stay on this machine')));
        return this;
      }
    } else if (lookup !== undefined && typeof options === 'object' && options !== null) {
      Reflect.set(
        options,
        'lookup',
        stayHere(lookup, (address) => tell(address, port)),
      );
    }
    return Reflect.apply(original, this, args);
  };
  Reflect.set(Socket.prototype, 'connect', watched);
  return () => void Reflect.set(Socket.prototype, 'connect', original);
}

/** A lookup whose answers are told; those that would lead away are replaced by the stand-in. */
function stayHere(lookup: Lookup, tell: (address: string) => void) {
  return (name: string, options: { all?: boolean }, callback: (...answer: unknown[]) => void) =>
    lookup(name, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, []);
      for (const { address } of found) tell(address);
      const near = found.map(({ address, family }) =>
        LOOPBACK.test(address) ? { address, family } : { address: PUBLIC_STAND_IN, family: 4 },
      );
      return options.all ? callback(null, near) : callback(null, near[0]?.address, near[0]?.family);
    });
}
