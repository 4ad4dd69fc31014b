import { describe, expect, it } from 'vitest';
import { findChain, type PaymentChain } from './base/chains.ts';
import { ConfigurationError } from './base/errors.ts';
import { buildRpcUrl, readConfig } from './config.ts';

const base = { DATA_DIR: '/tmp/data' };

function chain(name: string): PaymentChain {
  const found = findChain(name);
  if (!found) throw new TypeError(`no chain ${name}`);
  return found;
}

/** The error of an environment that cannot be used. */
function problemOf(env: Record<string, string>): ConfigurationError {
  try {
    readConfig({ ...base, ...env });
  } catch (error) {
    if (error instanceof ConfigurationError) return error;
    throw error;
  }
  throw new Error('the environment was accepted');
}

describe('readConfig', () => {
  it('has a safe default for everything', () => {
    expect(readConfig(base)).toMatchObject({
      scanApiUrl: 'https://www.8004scan.io/api/v1/public',
      scanApiKey: undefined,
      privateKeyFile: undefined,
      rpcUrl: undefined,
      defaultChain: { name: 'base' },
      dataDir: '/tmp/data',
      maxPriceAtomic: 250_000n,
      budgetAtomic: 5_000_000n,
      budgetTotalAtomic: undefined,
      maxValiditySeconds: 1_800,
      maxOverlap: 2,
      workers: [],
      blockedWorkers: [],
      allowHttpHosts: [],
      ipfsGateways: [],
      runnerIdleSeconds: 60,
      logLevel: 'info',
    });
  });

  it('reads every variable', () => {
    const config = readConfig({
      SCAN_API_URL: 'http://127.0.0.1:1/api',
      SCAN_API_KEY: 'key',
      AUTORESEARCH_PRIVATE_KEY_FILE: '/run/key',
      ERPC_URL: 'http://erpc:4000/{network}/rpc',
      ERPC_NETWORK: 'base-sepolia',
      DATA_DIR: '/tmp/elsewhere',
      AUTORESEARCH_MAX_PRICE: '$1.50',
      AUTORESEARCH_BUDGET: '10',
      AUTORESEARCH_BUDGET_TOTAL: '100.000001',
      AUTORESEARCH_MAX_VALIDITY: '900',
      AUTORESEARCH_MAX_OVERLAP: '1',
      AUTORESEARCH_WORKERS: 'https://a.example, https://b.example\nhttps://c.example',
      AUTORESEARCH_BLOCKED_WORKERS: 'https://d.example',
      AUTORESEARCH_ALLOW_HTTP_HOSTS: 'localhost:1,127.0.0.1',
      AUTORESEARCH_IPFS_GATEWAYS: 'https://ipfs.example',
      AUTORESEARCH_RUNNER_IDLE: '0',
      LOG_LEVEL: 'DEBUG',
    });
    expect(config).toMatchObject({
      scanApiUrl: 'http://127.0.0.1:1/api',
      scanApiKey: 'key',
      privateKeyFile: '/run/key',
      rpcUrl: 'http://erpc:4000/{network}/rpc',
      defaultChain: { chainId: 84_532 },
      dataDir: '/tmp/elsewhere',
      maxPriceAtomic: 1_500_000n,
      budgetAtomic: 10_000_000n,
      budgetTotalAtomic: 100_000_001n,
      maxValiditySeconds: 900,
      maxOverlap: 1,
      workers: ['https://a.example', 'https://b.example', 'https://c.example'],
      blockedWorkers: ['https://d.example'],
      allowHttpHosts: ['localhost:1', '127.0.0.1'],
      ipfsGateways: ['https://ipfs.example'],
      runnerIdleSeconds: 0,
      logLevel: 'debug',
    });
  });

  const names = [
    ...['SCAN_API_URL', 'SCAN_API_KEY', 'AUTORESEARCH_PRIVATE_KEY_FILE', 'ERPC_URL', 'ERPC_NETWORK'],
    ...['AUTORESEARCH_MAX_PRICE', 'AUTORESEARCH_BUDGET', 'AUTORESEARCH_BUDGET_TOTAL', 'AUTORESEARCH_MAX_VALIDITY'],
    ...['AUTORESEARCH_MAX_OVERLAP', 'AUTORESEARCH_WORKERS', 'AUTORESEARCH_BLOCKED_WORKERS', 'LOG_LEVEL'],
    ...['AUTORESEARCH_ALLOW_HTTP_HOSTS', 'AUTORESEARCH_IPFS_GATEWAYS', 'AUTORESEARCH_RUNNER_IDLE'],
    ...['REMOTE_SIGNER_URL', 'REMOTE_SIGNER_TOKEN', 'AUTORESEARCH_PAYER', 'AUTORESEARCH_KEYSTORE'],
  ];
  it.each(names)('takes an empty %s, or one that is a literal placeholder, for unset', (name) => {
    for (const value of ['', '   ', `\${${name}}`, `\${${name}:-}`, `\${user_config.value}`]) {
      expect(readConfig({ ...base, [name]: value })).toEqual(readConfig(base));
    }
  });

  it.each([
    ['SCAN_API_URL', ['ftp://x', 'not a url', '/api', 'javascript:alert(1)']],
    ['ERPC_URL', ['localhost:8545', 'ws://x', 'file:///etc/passwd']],
    ['ERPC_NETWORK', ['solana', 'eip155:999999', '0']],
    ['AUTORESEARCH_MAX_PRICE', ['-1', '1e3', 'free', '0.0000001', '0x10', '1,5', 'NaN', '$$1']],
    ['AUTORESEARCH_BUDGET', ['-0.01', 'unlimited', 'Infinity']],
    ['AUTORESEARCH_BUDGET_TOTAL', ['none']],
    ['AUTORESEARCH_MAX_VALIDITY', ['0', '59', '86401', '1.5', 'NaN', '1e400', '-60', 'ten', '0x3c', '6e1']],
    ['AUTORESEARCH_MAX_OVERLAP', ['0', '11', '1.5', 'two', 'true', '0b1']],
    ['AUTORESEARCH_WORKERS', ['https://a.example,nonsense', 'ftp://a.example']],
    ['AUTORESEARCH_BLOCKED_WORKERS', ['nonsense']],
    ['AUTORESEARCH_IPFS_GATEWAYS', ['nonsense']],
    ['AUTORESEARCH_RUNNER_IDLE', ['-1', 'soon', '86401']],
    ['LOG_LEVEL', ['loud', '3']],
  ])('names %s when its value cannot be used', (name, values) => {
    for (const value of values) {
      const problem = problemOf({ [name]: value });
      expect(problem.variable, value).toBe(name);
      expect(problem.message).toContain(name);
      expect(problem.message).not.toContain('\n');
    }
  });

  it('keeps a hostile value short in its error', () => {
    expect(problemOf({ ERPC_URL: 'x'.repeat(10_000) }).message.length).toBeLessThan(300);
  });
});

describe('buildRpcUrl', () => {
  it('puts the name of the chain where eRPC wants it', () => {
    expect(buildRpcUrl('http://erpc:4000/rpc', chain('base'))).toBe('http://erpc:4000/rpc/base');
    expect(buildRpcUrl('http://erpc:4000/rpc/', chain('base-sepolia'))).toBe('http://erpc:4000/rpc/base-sepolia');
    expect(buildRpcUrl('https://x.example/{network}?key=1', chain('base'))).toBe('https://x.example/base?key=1');
    expect(buildRpcUrl('https://x.example/rpc?key=1', chain('base'))).toBe('https://x.example/rpc/base?key=1');
  });
});
