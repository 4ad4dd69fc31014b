import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
  SqliteDialect,
  type SqliteDialectConfig,
  SqliteDriver,
} from 'kysely';
import { sleep } from '../base/time.ts';

/** How long a statement waits for another process's transaction, in milliseconds; those are short. */
const BUSY_DEADLINE_MS = 20_000;
const MAX_PAUSE_MS = 40;

/**
 * SQLite for several processes on one file. Transactions take the write lock when they begin, since a deferred one
 * fails half-way when another process wrote in between; waiting for a lock leaves the event loop free.
 */
export class SharedSqliteDialect extends SqliteDialect {
  readonly #config: SqliteDialectConfig;

  constructor(config: SqliteDialectConfig) {
    super(config);
    this.#config = config;
  }

  override createDriver(): Driver {
    return new SharedSqliteDriver(this.#config);
  }
}

class SharedSqliteDriver extends SqliteDriver {
  readonly #waiting = new WeakMap<DatabaseConnection, DatabaseConnection>();

  override async acquireConnection(): Promise<DatabaseConnection> {
    const connection = await super.acquireConnection();
    const known = this.#waiting.get(connection);
    if (known) return known;
    const waiting = waitWhileBusy(connection);
    this.#waiting.set(connection, waiting);
    return waiting;
  }

  override async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }
}

function waitWhileBusy(connection: DatabaseConnection): DatabaseConnection {
  return {
    executeQuery: <R>(query: CompiledQuery): Promise<QueryResult<R>> =>
      retryWhileBusy(() => connection.executeQuery<R>(query)),
    streamQuery: (query, chunkSize) => connection.streamQuery(query, chunkSize),
  };
}

/** Repeats an action on the database while another process holds the lock that it needs. */
export async function retryWhileBusy<T>(action: () => T | Promise<T>): Promise<T> {
  const deadlineMs = performance.now() + BUSY_DEADLINE_MS;
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadlineMs) throw error;
      await sleep(1 + Math.random() * MAX_PAUSE_MS);
    }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^SQLITE_(BUSY|LOCKED)/.test(String(error.code));
}
