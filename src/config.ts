import { accessSync, constants, existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import * as z from 'zod';
import { findChain, type PaymentChain } from './base/chains.ts';
import { ConfigurationError } from './base/errors.ts';
import { type AtomicUsdc, parseUsd } from './base/money.ts';

/** Everything that the operator decides, read once at start. */
export interface Config {
  readonly scanApiUrl: string;
  readonly scanApiKey: string | undefined;
  readonly remoteSignerUrl: string | undefined;
  readonly remoteSignerToken: string | undefined;
  readonly keystoreFile: string | undefined;
  readonly keystorePasswordFile: string | undefined;
  readonly privateKeyFile: string | undefined;
  /** Address to pay from; undefined: the signer's only key. */
  readonly payer: `0x${string}` | undefined;
  /** Base of the JSON-RPC; see `buildRpcUrl`. Undefined: the chain's public RPC. */
  readonly rpcUrl: string | undefined;
  readonly defaultChain: PaymentChain;
  /** Folder of all state. */
  readonly dataDir: string;
  /** Most that one experiment may cost, atomic USDC. */
  readonly maxPriceAtomic: AtomicUsdc;
  /** Most that may be reserved or spent within a rolling 24 hours, atomic USDC. */
  readonly budgetAtomic: AtomicUsdc;
  /** Most that may ever be spent from this store, atomic USDC. */
  readonly budgetTotalAtomic: AtomicUsdc | undefined;
  /** Longest life of an authorization, seconds. */
  readonly maxValiditySeconds: number;
  /** Most live authorizations of one experiment. */
  readonly maxOverlap: number;
  readonly workers: readonly string[];
  readonly blockedWorkers: readonly string[];
  readonly allowHttpHosts: readonly string[];
  /** Reviewers whose word about workers counts, addresses. */
  readonly trustedReviewers: readonly `0x${string}`[];
  readonly ipfsGateways: readonly string[];
  /** Folder of the operator's task definitions. */
  readonly tasksFolder: string | undefined;
  /** Seconds that the runner stays without work. */
  readonly runnerIdleSeconds: number;
  readonly logLevel: LogLevel;
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment.
 * @throws ConfigurationError naming the first variable whose value cannot be used
 */
export function readConfig(env: Environment): Config {
  const read = (name: string) => cleanValue(env[name]);
  const network = read('ERPC_NETWORK') ?? 'base';
  const defaultChain = findChain(network);
  if (!defaultChain) {
    throw new ConfigurationError(
      'ERPC_NETWORK',
      `is ${quote(network)}, a chain we cannot pay on`,
      'Set it to base, base-sepolia or another x402 chain with USDC.',
    );
  }
  return {
    scanApiUrl: readUrl('SCAN_API_URL', read('SCAN_API_URL')) ?? 'https://www.8004scan.io/api/v1/public',
    scanApiKey: read('SCAN_API_KEY'),
    remoteSignerUrl: readSignerUrl(read('REMOTE_SIGNER_URL'), readList(read('AUTORESEARCH_ALLOW_HTTP_HOSTS'))),
    remoteSignerToken: read('REMOTE_SIGNER_TOKEN'),
    keystoreFile: read('AUTORESEARCH_KEYSTORE'),
    keystorePasswordFile: read('AUTORESEARCH_KEYSTORE_PASSWORD_FILE'),
    privateKeyFile: read('AUTORESEARCH_PRIVATE_KEY_FILE'),
    payer: readAddress('AUTORESEARCH_PAYER', read('AUTORESEARCH_PAYER')),
    rpcUrl: readUrl('ERPC_URL', read('ERPC_URL')),
    defaultChain,
    dataDir: read('DATA_DIR') ?? findDataDir(env),
    maxPriceAtomic: readUsd('AUTORESEARCH_MAX_PRICE', read('AUTORESEARCH_MAX_PRICE')) ?? parseUsd('0.25'),
    budgetAtomic: readUsd('AUTORESEARCH_BUDGET', read('AUTORESEARCH_BUDGET')) ?? parseUsd('5'),
    budgetTotalAtomic: readUsd('AUTORESEARCH_BUDGET_TOTAL', read('AUTORESEARCH_BUDGET_TOTAL')),
    maxValiditySeconds:
      readInteger('AUTORESEARCH_MAX_VALIDITY', read('AUTORESEARCH_MAX_VALIDITY'), 60, 86_400) ?? 1_800,
    maxOverlap: readInteger('AUTORESEARCH_MAX_OVERLAP', read('AUTORESEARCH_MAX_OVERLAP'), 1, 10) ?? 2,
    workers: readUrls('AUTORESEARCH_WORKERS', read('AUTORESEARCH_WORKERS')),
    blockedWorkers: readUrls('AUTORESEARCH_BLOCKED_WORKERS', read('AUTORESEARCH_BLOCKED_WORKERS')),
    allowHttpHosts: readList(read('AUTORESEARCH_ALLOW_HTTP_HOSTS')),
    trustedReviewers: readAddresses('AUTORESEARCH_TRUSTED_REVIEWERS', read('AUTORESEARCH_TRUSTED_REVIEWERS')),
    ipfsGateways: readUrls('AUTORESEARCH_IPFS_GATEWAYS', read('AUTORESEARCH_IPFS_GATEWAYS')),
    tasksFolder: readFolder(read('AUTORESEARCH_TASKS')),
    runnerIdleSeconds: readInteger('AUTORESEARCH_RUNNER_IDLE', read('AUTORESEARCH_RUNNER_IDLE'), 0, 86_400) ?? 60,
    logLevel: readLogLevel(read('LOG_LEVEL')),
  };
}

/**
 * The JSON-RPC address of a chain: `{network}` in the base is replaced by the chain's name, as eRPC has it; a base
 * without it gets the name appended to its path.
 */
export function buildRpcUrl(base: string, chain: PaymentChain): string {
  if (base.includes('{network}')) return base.replaceAll('{network}', chain.name);
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/${chain.name}`;
  return url.href;
}

/** Hosts hand over an unset variable as empty text or as the literal `${NAME}`. */
function cleanValue(value: string | undefined): string | undefined {
  const text = value?.trim();
  return text === undefined || text === '' || /^\$\{.*\}$/.test(text) ? undefined : text;
}

function quote(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 79)}…` : value);
}

function readUrl(name: string, value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const isWeb = URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
  if (!isWeb)
    throw new ConfigurationError(
      name,
      `is ${quote(value)}, which is not an http(s) address`,
      `Set ${name} to a full address such as https://host/path.`,
    );
  return value;
}

/** Loopback, private addresses and bare or cluster names: networks on which plain http reaches no stranger. */
const PRIVATE_HOST =
  /^(localhost|127\.\d+\.\d+\.\d+|10\.\d+\.\d+\.\d+|192\.168\.\d+\.\d+|172\.(1[6-9]|2\d|3[01])\.\d+\.\d+|\[::1\]|[a-z0-9-]+|[a-z0-9.-]+\.(svc|cluster\.local|internal|local))$/i;

/** The signer's token and everything it signs go over this connection: plain http only where no stranger listens. */
function readSignerUrl(value: string | undefined, allowHttpHosts: readonly string[]): string | undefined {
  const text = readUrl('REMOTE_SIGNER_URL', value);
  if (text === undefined) return undefined;
  const url = new URL(text);
  const isSafe =
    url.protocol === 'https:' ||
    PRIVATE_HOST.test(url.hostname) ||
    allowHttpHosts.includes(url.host) ||
    allowHttpHosts.includes(url.hostname);
  if (isSafe) return text;
  throw new ConfigurationError(
    'REMOTE_SIGNER_URL',
    `is ${quote(text)}, plain http over a public network`,
    'Use https, or name its host in AUTORESEARCH_ALLOW_HTTP_HOSTS.',
  );
}

/** An absolute path, whatever the working directory of the program. */
function readFolder(value: string | undefined): string | undefined {
  return value === undefined ? undefined : resolve(value);
}

function readAddress(name: string, value: string | undefined): `0x${string}` | undefined {
  if (value === undefined) return undefined;
  const digits = /^0x([0-9a-fA-F]{40})$/.exec(value)?.[1];
  if (digits === undefined)
    throw new ConfigurationError(
      name,
      `is ${quote(value)}, which is not an address`,
      `Set ${name} to 0x and 40 hex digits.`,
    );
  return `0x${digits}`;
}

function readAddresses(name: string, value: string | undefined): `0x${string}`[] {
  return readList(value).flatMap((item) => readAddress(name, item) ?? []);
}

function readList(value: string | undefined): string[] {
  return (value ?? '').split(/[\s,]+/).filter((item) => item !== '');
}

function readUrls(name: string, value: string | undefined): string[] {
  return readList(value).map((item) => readUrl(name, item) ?? item);
}

function readUsd(name: string, value: string | undefined): AtomicUsdc | undefined {
  if (value === undefined) return undefined;
  try {
    return parseUsd(value.replace(/^\$/, ''));
  } catch {
    throw new ConfigurationError(
      name,
      `is ${quote(value)}, which is not an amount in dollars`,
      `Set ${name} to a decimal such as 0.25.`,
    );
  }
}

function readInteger(name: string, value: string | undefined, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  const parsed = z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .safeParse(value);
  if (!parsed.success)
    throw new ConfigurationError(
      name,
      `is ${quote(value)}, which is not a whole number from ${min} to ${max}`,
      `Set ${name} to a number in that range.`,
    );
  return parsed.data;
}

function readLogLevel(value: string | undefined): LogLevel {
  const parsed = z.enum(LOG_LEVELS).safeParse(value?.toLowerCase() ?? 'info');
  if (!parsed.success)
    throw new ConfigurationError('LOG_LEVEL', `is ${quote(value ?? '')}`, `Set it to one of ${LOG_LEVELS.join(', ')}.`);
  return parsed.data;
}

function findDataDir(env: Environment): string {
  if (existsSync('/data') && isWritable('/data')) return '/data';
  const home = cleanValue(env.HOME) ?? homedir();
  switch (process.platform) {
    case 'darwin':
      return join(home, 'Library', 'Application Support', 'autoresearch-coordinator');
    case 'win32':
      return join(cleanValue(env.LOCALAPPDATA) ?? join(home, 'AppData', 'Local'), 'autoresearch-coordinator');
    default:
      return join(cleanValue(env.XDG_DATA_HOME) ?? join(home, '.local', 'share'), 'autoresearch-coordinator');
  }
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
