import { createServer, type RequestListener } from 'node:http';
import { LocalnetPartError } from './errors.ts';

export interface HttpPart {
  /** Such as `http://127.0.0.1:40123`. */
  readonly origin: string;
  /** Breaks the open connections and frees the port. */
  close(): Promise<void>;
}

/** Serves on a free loopback port. @param part its name for errors */
export function listen(part: string, handler: RequestListener): Promise<HttpPart> {
  // Runs of minutes must not be cut by the server's own limit for a request.
  const server = createServer({ requestTimeout: 0 }, handler);
  return new Promise((resolve, reject) => {
    server.once('error', () => reject(new LocalnetPartError(part, 'could not open a port on 127.0.0.1')));
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') {
        reject(new LocalnetPartError(part, 'has no port'));
        return;
      }
      resolve({
        origin: `http://127.0.0.1:${address.port}`,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            server.closeAllConnections();
          }),
      });
    });
  });
}
