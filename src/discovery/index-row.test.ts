import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type IndexPage, parseDetail, parseListPage } from './index-envelope.ts';
import { parseIndexRow } from './index-row.ts';
import { isRecord } from './tolerant.ts';

const load = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../test/fixtures/8004scan/${name}.json`, import.meta.url), 'utf8'));
const query = { search: null, chainId: null, limit: 20, page: 1 };
const registry = '0x8004a169fb4a3325136eb29fa0ceb6d2e539a432';

function readPage(body: unknown, page = 1): IndexPage {
  const result = parseListPage(body, { ...query, page });
  if (typeof result === 'string') throw new Error(result);
  return result;
}

function readRow(value: unknown) {
  const result = parseIndexRow(value);
  return result.ok ? result.row : null;
}

describe('the lists of the fixtures', () => {
  it('reads the public list of 2026-09: id 0, null fields, placeholders', () => {
    const { rows, hasMore, skippedRows } = readPage(load('public-list-2026-09'));
    expect(rows.map((row) => row.agent.agentId)).toEqual(['0', '418', '22775', '50001', '50002']);
    expect({ hasMore, skippedRows }).toEqual({ hasMore: false, skippedRows: 0 });
    expect(rows.map((row) => row.isNoise)).toEqual([false, true, false, true, true]);
    expect(rows[4]).toMatchObject({ nameUntrusted: null, active: false, content: undefined, uri: null });
    expect(rows[0]).toMatchObject({ feedbackCount: 2, averageScore: null, createdAt: '2026-08-30T20:50:45.000Z' });
  });

  it('reads the embedded list of 2026-03', () => {
    const { rows } = readPage(load('public-list-2026-03-embedded'));
    expect(rows.map((row) => row.agent.agentId)).toEqual(['0', '418', '777', '778', '779']);
    expect(rows[0]?.agentWallet).toBe('0x1111111111111111111111111111111111111111');
    expect(rows[2]).toMatchObject({ content: undefined, uri: expect.stringMatching(/^data:/) });
    expect(rows[3]?.nameUntrusted).not.toMatch(/[\n\u202e]/u);
    expect(rows[4]).toMatchObject({ content: undefined, uri: null });
  });

  it('reads the internal list as the same agents', () => {
    expect(readPage(load('internal-list')).rows.map((row) => row.agent)).toEqual(
      readPage(load('public-list-2026-09')).rows.map((row) => row.agent),
    );
  });

  it('reads the detail', () => {
    const row = parseDetail(load('public-detail'));
    expect(row).toMatchObject({ agent: { agentId: '0' }, averageScore: null, uri: expect.stringMatching(/^data:/) });
  });
});

describe('parseListPage', () => {
  it.each([
    [{ success: false, error: {} }, 'success_false'],
    [{ unexpected: true }, 'unexpected_shape'],
    ['text', 'unexpected_shape'],
    [null, 'unexpected_shape'],
    [{ data: {} }, 'unexpected_shape'],
  ])('takes %j for an error, not for an empty list', (body, problem) => {
    expect(parseListPage(body, query)).toBe(problem);
  });

  it.each([
    [{ data: [], meta: { pagination: { hasMore: true } } }, true],
    [{ data: [], meta: { pagination: { page: 1, total_pages: 2 } } }, true],
    [{ data: [], meta: { pagination: { page: 1, total_pages: 1 } } }, false],
    [{ items: [], has_more: true }, true],
    [{ items: [], next_cursor: 'x' }, true],
    [{ items: [], total: 30, offset: 0 }, true],
    [{ data: { agents: [] } }, false],
    [[], false],
    [Array.from({ length: 20 }, () => 7), true],
  ])('knows whether more follow %j', (body, hasMore) => {
    expect(readPage(body).hasMore).toBe(hasMore);
  });

  it('skips bad rows and counts them', () => {
    const page = readPage([null, 7, [], {}, { chain_id: 1, token_id: 5 }]);
    expect(page).toMatchObject({ skippedRows: 4, rows: [{ agent: { agentId: '5', registry } }] });
  });
});

describe('parseDetail', () => {
  const row = { chain_id: 8453, token_id: '5' };
  it.each([
    [{ success: true, data: row }],
    [row],
    [{ agent_id: `8453:${registry}:5` }],
    [{ ...row, services: { web: { endpoint: 'https://a.example' } } }],
  ])('reads %j', (body) => {
    expect(parseDetail(body)).toMatchObject({ agent: { chainId: 8453, agentId: '5' } });
  });

  it.each([
    [{ success: false, data: row }, 'success_false'],
    [{ success: true, data: [row] }, 'unexpected_shape'],
    [{ success: true, data: null }, 'unexpected_shape'],
    [{ detail: 'Agent not found' }, 'unexpected_shape'],
    [[row], 'unexpected_shape'],
    ['text', 'unexpected_shape'],
    [null, 'unexpected_shape'],
    [{}, 'unexpected_shape'],
  ])('takes %j for an error', (body, problem) => {
    expect(parseDetail(body)).toBe(problem);
  });
});

describe('parseIndexRow', () => {
  const row = { chain_id: 8453, token_id: '5' };
  it.each([
    [{ chainId: '8453', tokenId: 0 }, '0'],
    [{ agent_id: `8453:${registry.toUpperCase().replace('0X', '0x')}:7` }, '7'],
    [{ ...row, agent_id: `eip155:8453:${registry}:5` }, '5'],
    [{ ...row, contract_address: registry }, '5'],
  ])('reads the identity of %j', (value, agentId) => {
    expect(readRow(value)?.agent).toEqual({ chainId: 8453, registry, agentId });
  });

  it.each([
    [{ id: '00000000-0000-4000-8000-000000000001', chain_id: 8453 }],
    [{ chain_id: 8453, token_id: -1 }],
    [{ chain_id: 8453, token_id: 1.5 }],
    [{ chain_id: 8453, token_id: 2 ** 53 }],
    [{ chain_id: 0, token_id: 1 }],
    [{ chain_id: -1, token_id: 1 }],
    [{ chain_id: 1.5, token_id: 1 }],
    [{ token_id: 1 }],
    [{ chain_id: 8453, token_id: true }],
    [{ ...row, registry_address: `0x${'1'.repeat(40)}`, contract_address: registry }],
    [{ chain_id: 'x', token_id: 1 }],
    [{ chain_id: 999_999, token_id: 1 }],
    [{ ...row, contract_address: '0x12' }],
    [{ ...row, agent_id: `8453:${registry}:6` }],
    [{ ...row, agent_id: `1:${registry}:5` }],
    [{ ...row, contract_address: `0x${'1'.repeat(40)}`, agent_id: `8453:${registry}:5` }],
  ])('skips %j', (value) => {
    expect(parseIndexRow(value)).toEqual({ ok: false, reason: 'bad_row' });
  });

  it('reads flags as text, documents as JSON text, and unreadable times as null', () => {
    const read = readRow({
      ...row,
      is_active: 'false',
      x402_supported: 'true',
      created_at: 'soon',
      name: 7,
      average_score: 0,
      raw_metadata: { offchain_content: '{"name":"x"}' },
    });
    expect(read).toMatchObject({ active: false, x402: true, createdAt: null, nameUntrusted: null, averageScore: null });
    expect(read?.content).toEqual({ name: 'x' });
    expect(readRow(row)).toMatchObject({ active: null, x402: null, content: undefined });
  });

  it.each([
    [{ registry_address: registry }, { agent: { registry } }],
    [{ contract_address: registry.toUpperCase().replace('0X', '0x') }, { agent: { registry } }],
    [
      { description: ['x'], name: { a: 1 } },
      { descriptionUntrusted: null, nameUntrusted: null },
    ],
    [
      { name: null, description: null },
      { descriptionUntrusted: null, nameUntrusted: null },
    ],
    [{ active: true }, { active: true }],
    [{ is_active: false, active: true }, { active: false }],
    [
      { is_active: 'yes', x402_supported: 1 },
      { active: null, x402: null },
    ],
    [{ x402Supported: false }, { x402: false }],
    [{ supported_protocols: null }, { isNoise: true }],
    [{ supported_protocols: { odd: true }, description: 'It trains what you send to it' }, { isNoise: false }],
    [
      { registeredAt: '2026-09-01T10:30:00Z', updatedAt: '2026-09-02' },
      { createdAt: '2026-09-01T10:30:00.000Z', updatedAt: '2026-09-02T00:00:00.000Z' },
    ],
    [
      { created_at: 1, updated_at: {} },
      { createdAt: null, updatedAt: null },
    ],
    [
      { feedbackCount: 3, averageValue: 4.5 },
      { feedbackCount: 3, averageScore: 4.5 },
    ],
    [
      { total_feedbacks: '3', average_score: -1 },
      { feedbackCount: null, averageScore: null },
    ],
    [
      { raw_metadata: null, agent_url: 'https://a.example' },
      { uri: null, content: undefined, agentUrl: 'https://a.example' },
    ],
    [{ raw_metadata: { offchain_uri: 'ipfs://Qm' }, uri: 'https://a.example' }, { uri: 'ipfs://Qm' }],
    [{ uri: 'https://a.example' }, { uri: 'https://a.example' }],
    [{ tokenURI: 'data:,{}' }, { uri: 'data:,{}' }],
    [{ agentURI: ' https://a.example ' }, { uri: 'https://a.example' }],
    [{ raw_metadata: { offchain_content: { name: 'x' } } }, { content: { name: 'x' } }],
    [{ raw_metadata: { offchain_content: 'no JSON' } }, { content: 'no JSON' }],
    [
      { raw_metadata: 'odd', parse_status: [] },
      { uri: null, content: undefined, indexedAt: null },
    ],
    [{ parse_status: { last_parsed_at: '2026-07-01T00:00:00Z' } }, { indexedAt: '2026-07-01T00:00:00.000Z' }],
  ])('reads what %j says besides', (more, expected) => {
    expect(readRow({ ...row, ...more })).toMatchObject(expected);
  });

  it('never throws, and what it accepts has a canonical identity', () => {
    const ids = fc.oneof(fc.integer(), fc.string(), fc.bigInt().map(String), fc.anything());
    const keys = ['agent_id', 'chain_id', 'token_id', 'contract_address', 'raw_metadata', 'name', 'parse_status'];
    const spelled = fc.record(Object.fromEntries(keys.map((key) => [key, ids])), { requiredKeys: [] });
    fc.assert(
      fc.property(fc.oneof(fc.anything(), spelled), (value) => {
        const result = parseIndexRow(value);
        if (!result.ok) return;
        expect(result.row.agent.agentId).toMatch(/^(0|[1-9]\d*)$/);
        expect(result.row.agent.registry).toMatch(/^0x[0-9a-f]{40}$/);
      }),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.anything(), (body) => isRecord(parseListPage(body, query)) || true));
  });
});
