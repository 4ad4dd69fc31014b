import {
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  type SqliteDatabase,
  SqliteDialect,
  SqliteDriver,
  type SqliteStatement,
} from 'kysely';
import { sleep } from '../base/time.ts';

/** What we need of a SQLite driver beyond Kysely's interface. */
export interface RawSqlite {
  prepare(sql: string): SqliteStatement;
  /** Runs and finalises statements at once, also when they fail. */
  exec(sql: string): unknown;
  close(): unknown;
}

/** How long a statement waits for another process's transaction, in milliseconds; those are short. */
const BUSY_DEADLINE_MS = 20_000;
const MAX_PAUSE_MS = 20;
/** More than the number of different statements that we have. */
const MAX_CACHED_STATEMENTS = 500;

/**
 * SQLite for several processes on one file. Transactions take the write lock when they begin, since a deferred one
 * fails half-way when another process wrote in between; waiting for a lock leaves the event loop free.
 */
export class SharedSqliteDialect extends SqliteDialect {
  readonly #open: () => Promise<RawSqlite>;

  constructor(open: () => Promise<RawSqlite>) {
    super({ database: () => Promise.reject(new Error('the driver opens the database')) });
    this.#open = open;
  }

  override createDriver(): Driver {
    return new SharedSqliteDriver(this.#open);
  }

  override createAdapter(): SqliteAdapter {
    return new TransactionalAdapter();
  }
}

/** Migrations are one transaction: a first start that is killed half-way must not leave some of the tables behind. */
class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

class SharedSqliteDriver extends SqliteDriver {
  #raw: RawSqlite | undefined;
  readonly #waiting = new WeakMap<DatabaseConnection, DatabaseConnection>();

  constructor(open: () => Promise<RawSqlite>) {
    super({
      database: async () => {
        this.#raw = await open();
        return cacheStatements(this.#raw);
      },
    });
  }

  override async acquireConnection(): Promise<DatabaseConnection> {
    const connection = await super.acquireConnection();
    const known = this.#waiting.get(connection);
    if (known) return known;
    const waiting = waitWhileBusy(connection);
    this.#waiting.set(connection, waiting);
    return waiting;
  }

  // A prepared statement that was refused a lock stays half-way and keeps the locks it has, which starves every other
  // process; `exec` finalises it. So the only statements that ask for the write lock go through `exec`.
  override async beginTransaction(): Promise<void> {
    await retryWhileBusy(() => this.#raw?.exec('begin immediate'));
  }

  override async commitTransaction(): Promise<void> {
    await retryWhileBusy(() => this.#raw?.exec('commit'));
  }

  override async rollbackTransaction(): Promise<void> {
    this.#raw?.exec('rollback');
  }
}

/** Keeps statements prepared: one that was refused a lock is then finished by its repetition, not left half-way. */
function cacheStatements(raw: RawSqlite): SqliteDatabase {
  const statements = new Map<string, SqliteStatement>();
  return {
    close: () => void raw.close(),
    prepare(sql) {
      const known = statements.get(sql);
      if (known) return known;
      const oldest = statements.keys().next();
      if (statements.size >= MAX_CACHED_STATEMENTS && !oldest.done) statements.delete(oldest.value);
      const statement = raw.prepare(sql);
      statements.set(sql, statement);
      return statement;
    },
  };
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
