import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createDataDir } from '../../test/store-seed.ts';
import { ConfigurationError } from '../base/errors.ts';
import { loadLocalKey } from './local-key.ts';

// Public development account 1 of anvil: test chains only.
const KEY = '59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d';

function writeKey(text: string, mode = 0o600): string {
  const file = join(createDataDir(), 'key');
  writeFileSync(file, text, { mode });
  chmodSync(file, mode);
  return file;
}

/** The error of a key that cannot be used; it must show nothing of one. */
function problemOf(file: string): string {
  try {
    loadLocalKey(file);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    expect(error.variable).toBe('AUTORESEARCH_PRIVATE_KEY_FILE');
    const shown = `${error.message} ${error.nextStep} ${error.stack}`;
    expect(shown).not.toContain(KEY.slice(0, 12));
    return error.message;
  }
  throw new Error('the key was accepted');
}

describe('loadLocalKey', () => {
  it.each([KEY, `0x${KEY}`, `0x${KEY}\n`, `  ${KEY.toUpperCase()}\r\n`])('reads key %#', (text) => {
    expect(loadLocalKey(writeKey(text)).address).toBe('0x70997970C51812dc3A010C7d01b50e0d17dc79C8');
  });

  it.each(['', KEY.slice(1), `${KEY}0`, `${KEY}\n${KEY}`, `key=${KEY}`, 'g'.repeat(64)])(
    'finds no key in %#',
    (text) => {
      expect(problemOf(writeKey(text))).toContain('holds no private key');
    },
  );

  it('does not show the key when it is given in place of its file', () => {
    for (const key of [KEY, `0x${KEY}`]) expect(problemOf(key)).toContain('a key, not a file');
  });

  it.skipIf(process.platform === 'win32')('refuses a file that others may read', () => {
    for (const mode of [0o644, 0o640, 0o604]) expect(problemOf(writeKey(KEY, mode))).toContain('others may read');
  });

  it('refuses what is no file, and keys that lie on no curve', () => {
    expect(problemOf('/nowhere/key')).toContain('not a readable file');
    expect(problemOf('/')).toContain('not a readable file');
    expect(problemOf(writeKey('0'.repeat(64)))).toContain('holds no private key');
    expect(problemOf(writeKey('f'.repeat(64)))).toContain('holds no private key');
  });

  it('shows nothing of the key on the object that signs', () => {
    const holder = loadLocalKey(writeKey(KEY));
    expect(JSON.stringify(holder)).toBe('{"address":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8"}');
  });
});
