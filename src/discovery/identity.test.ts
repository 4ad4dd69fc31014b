import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseAgentUri } from './agent-uri.ts';
import { chooseEndpoint } from './experiment-url.ts';
import { decideIdentity } from './identity.ts';
import { parseDetail, parseListPage } from './index-envelope.ts';
import type { IndexRow } from './index-row.ts';
import { parseRegistration } from './registration.ts';

const load = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../test/fixtures/8004scan/${name}.json`, import.meta.url), 'utf8'));

const agent = { chainId: 1, registry: `0x${'a'.repeat(40)}`, agentId: '0' };
const own = { registrations: [agent] };
const foreign = { registrations: [{ ...agent, agentId: '1' }] };
const endpoint = 'https://gpu.example/services/w';
const at = (url: string) => new URL(url);

describe('decideIdentity', () => {
  it.each([
    ['its own host names the token', own, at('https://gpu.example/card.json'), undefined, 'verified'],
    ['another host names the token', own, at('https://files.example/card.json'), 'mismatch', 'file_only'],
    ['another port is another host', own, at('https://gpu.example:8443/card.json'), undefined, 'file_only'],
    ['a data: file names the token', own, null, 'unreachable', 'file_only'],
    ['a data: file and the domain name the token', own, null, 'match', 'verified'],
    ['only the domain names the token', foreign, null, 'match', 'verified'],
    [
      'its own host serves a file of somebody else',
      foreign,
      at('https://gpu.example/card.json'),
      'mismatch',
      'unbound',
    ],
    ['nobody names the token', { registrations: [] }, null, 'no_registrations', 'unbound'],
  ] as const)('when %s', (_what, registration, servedBy, domain, expected) => {
    expect(decideIdentity({ agent, registration, servedBy, endpoint }, domain)).toBe(expected);
  });

  it.each([
    ['registry in another case', { ...agent, registry: `0x${'b'.repeat(40)}` }],
    ['another chain', { ...agent, chainId: 10 }],
  ])('is not fooled by %s', (_what, entry) => {
    expect(decideIdentity({ agent, registration: { registrations: [entry] }, servedBy: null, endpoint })).toBe(
      'unbound',
    );
  });
});

/** Judges a row of the fixtures as if its address had just served the embedded document. */
function identityOf(row: IndexRow | undefined): string {
  const uri = parseAgentUri(row?.uri ?? '');
  const document = row?.content ?? (uri.kind === 'inline' && uri.result.ok ? uri.result.value : undefined);
  const parsed = parseRegistration(document);
  if (!row || !parsed.ok) return 'no registration';
  const choice = chooseEndpoint(parsed.registration);
  if (!choice.ok) return choice.reason;
  const servedBy = uri.kind === 'web' ? uri.url : null;
  return decideIdentity({ agent: row.agent, registration: parsed.registration, servedBy, endpoint: choice.endpoint });
}

describe('the identities of the fixtures', () => {
  it('are verified, file_only, unbound as the README says', () => {
    const page = parseListPage(load('public-list-2026-03-embedded'), {
      search: null,
      chainId: null,
      limit: 20,
      page: 1,
    });
    const rows = typeof page === 'string' ? [] : page.rows;
    expect(rows.map(identityOf)).toEqual(['verified', 'file_only', 'unbound', 'unbound', 'no registration']);
    const detail = parseDetail(load('public-detail'));
    expect(typeof detail === 'string' ? detail : identityOf(detail)).toBe('file_only');
  });

  it('has the same document in the detail and in its data: URI', () => {
    const detail = parseDetail(load('public-detail'));
    if (typeof detail === 'string') throw new Error(detail);
    expect(parseAgentUri(detail.uri ?? '')).toEqual({ kind: 'inline', result: { ok: true, value: detail.content } });
  });
});
