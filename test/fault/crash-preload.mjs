// Loaded into servers and runners under test by NODE_OPTIONS=--import: lets a process kill itself, as a power cut would,
// exactly before or after one of its durable steps or around one of its requests. The program itself knows nothing of it.
//
// CRASH_FOLDER names a folder with `plan-<role>.json`: {id, event, label?, n, side}. The process of that role that meets
// the n-th event of the plan takes the plan away, leaves `death-<id>.json` and dies by SIGKILL.
//
//   event `commit`   a transaction ends; label: what it wrote, as `describe` has it; side `before` | `after`
//   event `write`    one writing statement, in a transaction or not; side `before` | `after`
//   event `request`  an HTTP request; label: text in its head; side `before` | `half` | `after` (it left) | `answered`
//
// With CRASH_TRACE set, every commit is noted in `trace-<role>.log`.
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { join } from 'node:path';

const folder = process.env.CRASH_FOLDER ?? '';
const role = process.argv[2] === 'runner' ? 'runner' : 'server';
const planPath = join(folder, `plan-${role}.json`);
const isTracing = process.env.CRASH_TRACE !== undefined;
/** How often this process has met the event of a plan, by the plan's id. */
const met = new Map();

try {
  writeFileSync(join(folder, 'pids', `${role}-${process.pid}`), '');
} catch {
  // The test is over and its folder gone: nobody needs this process any more.
  process.exit(1);
}

function loadPlan() {
  try {
    return JSON.parse(readFileSync(planPath, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Dies when the plan asks for it here. */
function meet(event, label, side) {
  if (isDue(event, label, side)) die(label);
}

function isDue(event, label, side) {
  const plan = loadPlan();
  if (plan?.event !== event || plan.side !== side || !isMeant(plan, label)) return false;
  const count = (met.get(plan.id) ?? 0) + 1;
  met.set(plan.id, count);
  return count >= plan.n;
}

function isMeant({ event, label: wanted }, label) {
  if (wanted === undefined) return true;
  return event === 'request' ? label.includes(wanted) : label === wanted;
}

function die(label) {
  const plan = loadPlan();
  const claim = `${planPath}.${process.pid}`;
  try {
    renameSync(planPath, claim);
  } catch {
    return;
  }
  const place = label
    .split('\r\n')[0]
    .replace(/0x[0-9a-f]{40}|exp-[\w-]+|[0-9a-f]{32}/g, 'ID')
    .slice(0, 80);
  writeFileSync(claim, JSON.stringify({ ...plan, pid: process.pid, place }));
  renameSync(claim, join(folder, `death-${plan.id}.json`));
  process.kill(process.pid, 'SIGKILL');
}

// The store: transactions are controlled by `exec`, everything else is a prepared statement.
const Database = createRequire(import.meta.url)('libsql');
const statementPrototype = Object.getPrototypeOf(new Database(':memory:').prepare('select 1'));
const { exec, prepare } = Database.prototype;
const sqlOf = new WeakMap();
/** What each open transaction has written so far. */
const writes = new WeakMap();

Database.prototype.prepare = function (sql) {
  const statement = prepare.call(this, sql);
  sqlOf.set(statement, { sql, database: this });
  return statement;
};

for (const name of ['run', 'all']) {
  const original = statementPrototype[name];
  statementPrototype[name] = function (...parameters) {
    const { sql, database } = sqlOf.get(this) ?? {};
    const label = sql === undefined ? undefined : describe(sql, parameters.flat());
    if (label === undefined) return original.apply(this, parameters);
    meet('write', label, 'before');
    const result = original.apply(this, parameters);
    writes.get(database)?.push(label);
    meet('write', label, 'after');
    return result;
  };
}

Database.prototype.exec = function (sql) {
  if (sql === 'commit') return commit(this);
  const result = exec.call(this, sql);
  if (sql.startsWith('begin')) writes.set(this, []);
  if (sql === 'rollback') writes.delete(this);
  return result;
};

function commit(database) {
  const label = summarise(writes.get(database) ?? []);
  if (label === '') return exec.call(database, 'commit');
  meet('commit', label, 'before');
  exec.call(database, 'commit');
  writes.delete(database);
  if (isTracing) appendFileSync(join(folder, `trace-${role}.log`), `${label}\n`);
  meet('commit', label, 'after');
}

/** A word for a writing statement; undefined for others. */
function describe(sql, parameters) {
  const [, verb, table] =
    /^\s*(insert|update|delete|create)\b.*?"?(\w+)"?(?=\s*[(]|\s+set|\s+where|\s+on|$)/is.exec(sql) ?? [];
  if (verb === undefined) return undefined;
  const column = /\bset\s+"(\w+)"/i.exec(sql)?.[1];
  if (verb === 'update' && table === 'experiments' && column === 'state') return `state=${parameters[0]}`;
  if (verb === 'insert' && table === 'settings') return `insert settings.${parameters[0]}`;
  return verb === 'update' ? `update ${table}.${column}` : `${verb} ${table}`;
}

/** The transition of an experiment if there is one, otherwise all that was written. */
function summarise(labels) {
  return labels.find((label) => label.startsWith('state=')) ?? [...new Set(labels)].join(' + ');
}

// The network: any TCP connection that speaks HTTP.
const { write, push } = Socket.prototype;
/** Heads of requests that are not answered yet. */
const asked = new WeakMap();

Socket.prototype.write = function (chunk, ...rest) {
  const head = this.remotePort === undefined ? undefined : readHead(chunk);
  if (head === undefined) return write.call(this, chunk, ...rest);
  asked.set(this, head);
  meet('request', head, 'before');
  if (isDue('request', head, 'half')) {
    const half = Buffer.from(chunk);
    return write.call(this, half.subarray(0, half.length >> 1), () => die(head));
  }
  // The body may follow in a write of its own: two turns later all of it has been handed to the system.
  if (isDue('request', head, 'after')) setImmediate(() => setImmediate(() => die(head)));
  return write.call(this, chunk, ...rest);
};

Socket.prototype.push = function (chunk, ...rest) {
  const head = asked.get(this);
  if (head !== undefined && chunk !== null) {
    asked.delete(this);
    meet('request', head, 'answered');
  }
  return push.call(this, chunk, ...rest);
};

function readHead(chunk) {
  const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1', 0, 4_096);
  return /^(GET|POST) /.test(text) ? text.toLowerCase() : undefined;
}
