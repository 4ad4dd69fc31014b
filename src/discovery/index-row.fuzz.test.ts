import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { leaf, listOf, objectOf, oneOf, orHostile } from '../../test/hostile-json.ts';
import { type IndexPage, parseDetail, parseListPage } from './index-envelope.ts';
import { type IndexRow, parseIndexRow } from './index-row.ts';
import { parseRegistration } from './registration.ts';

const RUNS = 100_000;
/** Against a parser that hangs, on a machine that is busy, in milliseconds. */
const GUARD_MS = 300_000;
const REGISTRY = '0x8004a169fb4a3325136eb29fa0ceb6d2e539a432';
const OTHER = `0x${'aB'.repeat(20)}`;

const chainId = fc.constantFrom('1', '8453', '84532', '"8453"', '999999', '0', '-1', '1.5');
const tokenId = fc.constantFrom(
  '0',
  '"0"',
  '7',
  '"7"',
  '"007"',
  '9007199254740993',
  '-1',
  '"-1"',
  '1.5',
  `"${'9'.repeat(78)}"`,
);
const registry = oneOf(REGISTRY, REGISTRY.toUpperCase(), OTHER, '0x12', `0x${'0'.repeat(40)}`);
const agentId = oneOf(
  `8453:${REGISTRY}:7`,
  `eip155:1:${OTHER}:0`,
  '8453:7',
  `8453:${REGISTRY}:7:9`,
  '00000000-0000-4000-8000-000000000001',
);
const address = oneOf(OTHER, REGISTRY, `0x${'0'.repeat(40)}`, 'vitalik.eth');
const time = oneOf('2026-09-01T10:30:00Z', 'soon', '2026-13-45', '+275760-09-13T00:00:00.000Z');
const flag = fc.constantFrom('true', 'false', '"true"', '"false"', '1', 'null');
const uri = oneOf('https://gpu.example/card.json', 'data:,{}', 'ipfs://QmX', ' ', 'file:///etc/passwd');
const content = orHostile(objectOf({ name: leaf, active: flag, skills: leaf }, 3), oneOf('{"name":"x"}', '{', '[1]'));
const onchain = listOf(orHostile(objectOf({ key: oneOf('agentWallet', 'x'), value: address, decoded: address }, 3)));
const metadata = orHostile(objectOf({ offchain_uri: orHostile(uri), offchain_content: content, onchain }, 3));
const amount = fc.constantFrom('0', '3', '-1', '4.5', '1e400', '"3"');

const fields = {
  id: oneOf('00000000-0000-4000-8000-000000000001'),
  agent_id: orHostile(agentId),
  name: leaf,
  description: leaf,
  is_active: orHostile(flag),
  active: flag,
  is_registered: flag,
  x402_supported: orHostile(flag),
  x402Supported: flag,
  owner_address: orHostile(address),
  agent_wallet: address,
  created_at: orHostile(time),
  registeredAt: time,
  total_feedbacks: orHostile(amount),
  averageValue: amount,
  average_score: amount,
  raw_metadata: metadata,
  parse_status: orHostile(objectOf({ last_parsed_at: orHostile(time) }, 2)),
  uri,
  tokenURI: uri,
  agent_url: orHostile(uri),
};
/** Most rows say who they are, in one of the spellings; only then is the rest of them looked at. */
const identity = fc.oneof(
  fc.tuple(chainId, tokenId).map(([chain, token]) => `"chain_id":${chain},"token_id":${token}`),
  fc.constantFrom('"chainId":8453,"tokenId":"7"', '"chain_id":"1","token_id":0', `"agent_id":"8453:${REGISTRY}:7"`),
  fc
    .tuple(orHostile(chainId), orHostile(tokenId), orHostile(registry))
    .map(([chain, token, contract]) => `"chain_id":${chain},"tokenId":${token},"contract_address":${contract}`),
);
const row = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(identity, objectOf(fields, 8))
      .map(([who, rest]) => `{${who}${rest === '{}' ? '' : ','}${rest.slice(1)}`),
  },
  { weight: 1, arbitrary: orHostile(objectOf(fields, 4)) },
);

function must(rule: string, isKept: boolean): void {
  if (!isKept) throw new Error(`broken: ${rule}`);
}

const INVISIBLE = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800]/u;
const isClean = (text: string | null, maxChars: number) =>
  text === null || (text !== '' && [...text].length <= maxChars && !INVISIBLE.test(text) && text.trim() === text);
const isAddress = (text: string | null) =>
  text === null || (/^0x[0-9a-fA-F]{40}$/.test(text) && !/^0x0{40}$/.test(text));
const isTime = (text: string | null) => text === null || new Date(text).toISOString() === text;
const isAmount = (value: number | null) => value === null || (Number.isFinite(value) && value >= 0);
const isText = (text: string | null) => text === null || (text !== '' && text.trim() === text);

/** Every rule for a row that was accepted, whatever it was made of. */
function checkRow(read: IndexRow): void {
  const { agent } = read;
  must('chain id', Number.isSafeInteger(agent.chainId) && agent.chainId > 0);
  must('agent id', /^(0|[1-9]\d*)$/.test(agent.agentId) && BigInt(agent.agentId) < 2n ** 256n);
  must('registry', /^0x[0-9a-f]{40}$/.test(agent.registry));
  must('name', isClean(read.nameUntrusted, 80));
  must('description', isClean(read.descriptionUntrusted, 300));
  must('flags', [true, false, null].includes(read.active) && [true, false, null].includes(read.x402));
  must('addresses', isAddress(read.owner) && isAddress(read.agentWallet));
  must('times', isTime(read.createdAt) && isTime(read.updatedAt) && isTime(read.indexedAt));
  must('amounts', isAmount(read.feedbackCount) && isAmount(read.averageScore) && read.averageScore !== 0);
  must('addresses of files', isText(read.uri) && isText(read.agentUrl));
  must('no pollution', !Object.hasOwn(Object.prototype, 'polluted'));
  if (read.content !== undefined) parseRegistration(read.content);
}

const own = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined;

/** Ids of a row in all spellings that it has, to be told apart from those that were made up. */
function listGivenIds(given: unknown): string[] {
  const segments = String(own(given, 'agent_id')).split(':');
  const values = [own(given, 'token_id'), own(given, 'tokenId'), segments.at(-1)];
  return values.flatMap((value) => (/^\d+$/.test(String(value)) ? BigInt(String(value)).toString() : []));
}

describe('rows', () => {
  it(
    `of ${RUNS} hostile kinds are read or skipped without a fault, and every rule is kept`,
    { timeout: GUARD_MS },
    () => {
      let accepted = 0;
      fc.assert(
        fc.property(row, (text) => {
          const given: unknown = JSON.parse(text);
          const result = parseIndexRow(given);
          if (!result.ok) return must('reason', result.reason === 'bad_row');
          accepted += 1;
          checkRow(result.row);
          must('an id that was given', listGivenIds(given).includes(result.row.agent.agentId));
        }),
        { numRuns: RUNS },
      );
      expect(accepted).toBeGreaterThan(RUNS / 4);
    },
  );
});

const paging = orHostile(
  objectOf({
    page: leaf,
    hasMore: orHostile(flag),
    has_more: flag,
    total_pages: fc.constantFrom('1', '2', '"2"', '1e400', '-1'),
    total: fc.constantFrom('0', '100', '1e400', '"9"', '-1'),
    next_cursor: orHostile(oneOf('abc', '')),
  }),
);
const rows = orHostile(listOf(row, 4));
const page = orHostile(
  rows,
  objectOf({
    data: orHostile(rows, objectOf({ agents: rows }, 2)),
    items: rows,
    success: flag,
    meta: objectOf({ pagination: paging }, 2),
  }),
  objectOf({ items: rows, total: leaf, has_more: flag, next_cursor: leaf }),
  objectOf({ success: fc.constant('true'), data: row, error: leaf, detail: leaf }, 3),
);

function checkPage(result: IndexPage, given: unknown): void {
  const data = own(given, 'data');
  const containers = [given, data, own(given, 'items'), own(data, 'agents')];
  const container = containers.find((value) => Array.isArray(value));
  must(
    'a list',
    Array.isArray(container) && result.rows.length + result.skippedRows === Math.min(container.length, 500),
  );
  must('more or not', typeof result.hasMore === 'boolean');
  for (const read of result.rows) checkRow(read);
}

describe('answers of an index', () => {
  it(
    `of ${RUNS} hostile kinds are lists, details or errors; an error never is an empty list`,
    { timeout: GUARD_MS },
    () => {
      let lists = 0;
      fc.assert(
        fc.property(page, fc.integer({ min: 1, max: 3 }), (text, number) => {
          const given: unknown = JSON.parse(text);
          const result = parseListPage(given, { search: null, chainId: null, limit: 20, page: number });
          const isRefused = own(given, 'success') === false && !Array.isArray(given);
          must('a refusal is one', (result === 'success_false') === isRefused);
          if (typeof result !== 'string') {
            lists += 1;
            checkPage(result, given);
          }
          const detail = parseDetail(given);
          must('a refused detail', (detail === 'success_false') === isRefused);
          if (typeof detail !== 'string') checkRow(detail);
        }),
        { numRuns: RUNS },
      );
      expect(lists).toBeGreaterThan(RUNS / 4);
    },
  );
});
