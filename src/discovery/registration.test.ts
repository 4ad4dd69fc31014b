import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseEndpoint } from './experiment-url.ts';
import { findMatchingSkill } from './oasf.ts';
import { parseRegistration, type Registration } from './registration.ts';
import { parseSelfReportedScore } from './self-reported.ts';
import { isRecord } from './tolerant.ts';

const fixtures: unknown = JSON.parse(
  readFileSync(new URL('../../test/fixtures/8004scan/registration-documents.json', import.meta.url), 'utf8'),
);

function read(document: unknown): Registration {
  const result = parseRegistration(document);
  if (!result.ok) throw new Error(result.reason);
  return result.registration;
}

const NOW_MS = Date.parse('2026-11-23T12:00:00Z');
const fixture = (name: string) => read(isRecord(fixtures) ? fixtures[name] : undefined);

describe('the documents of the fixtures', () => {
  it('reads the clean one', () => {
    const registration = fixture('clean');
    expect(registration).toMatchObject({ nameUntrusted: 'GPU Worker Alpha', x402: true, active: true });
    expect(registration.registrations).toEqual([
      { chainId: 84532, registry: '0x8004a818bfb912233c491871b3d84c89a494bd9e', agentId: '0' },
    ]);
    expect(findMatchingSkill(registration.skills)).toBe('devops_mlops/model_versioning');
    expect(parseSelfReportedScore(registration.metadata, NOW_MS)).toEqual({
      valBpb: 0.9973,
      updated: '2026-09-01T10:30:00.000Z',
      problem: null,
    });
    expect(chooseEndpoint(registration)).toEqual({
      ok: true,
      endpoint: 'https://alpha.example/services/autoresearch-worker',
    });
  });

  it('reads the legacy one: endpoints, ids as text, a suffix that must not be doubled', () => {
    const registration = fixture('legacy');
    expect(registration).toMatchObject({ x402: true, registrations: [{ chainId: 8453, agentId: '418' }] });
    expect(findMatchingSkill(registration.skills)).toBe('devops_mlops/model_versioning');
    expect(parseSelfReportedScore(registration.metadata, NOW_MS).valBpb).toBe(1.0312);
    expect(chooseEndpoint(registration)).toEqual({ ok: true, endpoint: 'https://rig7.example' });
  });

  it('reads services as an object, url for endpoint and x402 as an object', () => {
    const registration = fixture('objServices');
    expect(registration).toMatchObject({ x402: true, active: null, registrations: [] });
    expect(findMatchingSkill(registration.skills)).toBe('ai_ml_engineering/ml_lifecycle/model_versioning');
    expect(parseSelfReportedScore(registration.metadata, NOW_MS)).toMatchObject({
      valBpb: null,
      problem: expect.any(String),
    });
    expect(chooseEndpoint(registration)).toEqual({ ok: true, endpoint: 'https://bare.example/services/worker' });
  });

  it('cleans the hostile one', () => {
    const registration = fixture('hostile');
    expect(registration.nameUntrusted).not.toMatch(/[\n\u202e]/u);
    expect(registration.nameUntrusted?.length).toBeLessThanOrEqual(80);
    expect(parseSelfReportedScore(registration.metadata, NOW_MS)).toMatchObject({
      valBpb: null,
      problem: 'negative',
    });
  });

  it('names the template', () => {
    const registration = fixture('template');
    expect(registration).toMatchObject({ x402: true, active: false, registrations: [] });
    expect(chooseEndpoint(registration)).toEqual({ ok: false, reason: 'template_endpoint' });
    expect(findMatchingSkill(registration.skills)).toBeNull();
  });
});

describe('parseRegistration', () => {
  it.each([[[]], ['text'], [7], [null], [undefined], [true]])('refuses %j', (document) => {
    expect(parseRegistration(document)).toEqual({ ok: false, reason: 'bad_registration' });
  });

  it('lets services win over endpoints of the same name and keeps the others', () => {
    const { services } = read({
      services: [
        { name: 'Web', endpoint: 'https://new.example' },
        'x',
        null,
        { name: 'web', url: 'https://n2.example' },
      ],
      endpoints: [
        { name: 'web', endpoint: 'https://old.example' },
        { name: 'mcp', uri: 'https://mcp.example' },
      ],
    });
    expect(services.map(({ endpoint }) => endpoint)).toEqual([
      'https://new.example',
      'https://n2.example',
      'https://mcp.example',
    ]);
  });

  it.each([
    [{ services: { ens: 'x.eth', web: 'https://a.example' } }, ['x.eth', 'https://a.example']],
    [
      {
        services: [
          { name: 'web', endpoint: null },
          { name: 'a2a', endpoint: 5 },
          { name: 'b', endpoint: ' ' },
        ],
      },
      [null, null, null],
    ],
    [{ services: 'nonsense' }, []],
  ])('reads the endpoints of %j', (document, endpoints) => {
    expect(read(document).services.map(({ endpoint }) => endpoint)).toEqual(endpoints);
  });

  const skill = 'devops_mlops/model_versioning';
  it.each([
    [{ services: [{ name: 'OASF', skills: skill }] }, skill],
    [{ services: [{ name: 'oasf', skills: [{ name: skill, id: 1204 }] }] }, skill],
    [{ services: [{ name: 'oasf', version: '0.8', skills: [{ id: 1204 }] }] }, skill],
    [{ services: [{ name: 'oasf', version: '0.8', skills: [1204] }] }, skill],
    [{ skills: [skill] }, skill],
    [{ oasf: [skill] }, skill],
    [{ oasf: { skills: [skill], domains: [] } }, skill],
    [{ oasf: { version: 'v1.1.0', skills: [{ id: '71402' }] } }, 'ai_ml_engineering/ml_lifecycle/model_versioning'],
    [{ skills: [[[skill]]] }, skill],
    [{ skills: [[[[[skill]]]]] }, null],
    [{ services: [{ name: 'a2a', skills: [skill] }] }, null],
    [{ domains: [skill] }, null],
  ])('finds the skill of %j', (document, expected) => {
    expect(findMatchingSkill(read(document).skills)).toBe(expected);
  });

  it.each([
    [{ x402Support: true }, true],
    [{ x402support: 'false' }, false],
    [{ x402Support: { enabled: 'true' } }, true],
    [{ x402Support: 1 }, null],
    [{}, null],
  ])('reads the x402 flag of %j', (document, expected) => {
    expect(read(document).x402).toBe(expected);
  });

  it('skips malformed registrations and compares ids as decimal text', () => {
    const registry = `eip155:1:0x${'aB'.repeat(20)}`;
    const { registrations } = read({
      registrations: [
        { agentId: 0, agentRegistry: registry },
        { agentId: '007', agentRegistry: registry },
        { agentId: -1, agentRegistry: registry },
        { agentId: 2 ** 53, agentRegistry: registry },
        { agentId: 1, agentRegistry: 'solana:1:0x00' },
        { agentId: 1, agentRegistry: `${registry}:1` },
        null,
        'x',
      ],
    });
    expect(registrations.map(({ agentId }) => agentId)).toEqual(['0', '7']);
    expect(registrations[0]?.registry).toBe(`0x${'ab'.repeat(20)}`);
  });

  it('keeps texts and numbers of metadata only, also under `autoresearch`', () => {
    const { metadata } = read({
      metadata: { a: '1', b: [1], c: {}, d: true, val_bpb: 1 },
      autoresearch: { e: 2, a: 'no' },
    });
    expect(metadata).toEqual({ a: '1', e: 2, val_bpb: 1 });
  });

  it('lets no document reach a prototype', () => {
    const { metadata, services } = read(
      JSON.parse(
        '{"__proto__":{"active":true},"metadata":{"__proto__":"x","constructor":"y"},"services":{"__proto__":{"url":"https://a.example"}}}',
      ),
    );
    expect(Object.keys(metadata)).toEqual([]);
    expect(services).toEqual([]);
    expect(Object.hasOwn(Object.prototype, 'active')).toBe(false);
    expect(read(JSON.parse('{"__proto__":{"active":true}}')).active).toBeNull();
  });

  it('never throws and ends quickly, whatever it is given', () => {
    const spelled = fc.record(
      {
        name: fc.anything(),
        services: fc.anything({ key: fc.constantFrom('name', 'endpoint', 'url', 'skills', 'oasf', 'web') }),
        endpoints: fc.array(fc.anything()),
        skills: fc.anything({ maxDepth: 8 }),
        oasf: fc.anything(),
        registrations: fc.array(fc.record({ agentId: fc.anything(), agentRegistry: fc.anything() })),
        metadata: fc.dictionary(fc.string(), fc.anything()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.anything(), spelled), (document) => {
        const result = parseRegistration(document);
        if (!result.ok) return;
        findMatchingSkill(result.registration.skills);
        chooseEndpoint(result.registration);
        const { valBpb } = parseSelfReportedScore(result.registration.metadata, NOW_MS);
        expect(valBpb === null || (valBpb > 0 && valBpb < 20)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('reads a document that is deeply nested or has a million entries without running away', () => {
    const deep: unknown = JSON.parse(`{"skills":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
    const wide = { services: Array.from({ length: 200_000 }, () => ({ name: 'web', endpoint: '{'.repeat(10) })) };
    expect(read(deep).skills).toEqual([]);
    expect(read(wide).services).toHaveLength(100);
    expect(chooseEndpoint(read(wide)).ok).toBe(false);
  });
});

describe('parseSelfReportedScore', () => {
  it.each([
    ['0.9973', 0.9973],
    [' 1.5 ', 1.5],
    ['9.9e-1', 0.99],
    [1.0312, 1.0312],
  ])('accepts %j', (value, expected) => {
    expect(parseSelfReportedScore({ best_val_bpb: value }, NOW_MS)).toMatchObject({ valBpb: expected, problem: null });
  });

  it.each([
    ['n/a', 'not_a_number'],
    ['', 'not_a_number'],
    ['0x1', 'not_a_number'],
    ['Infinity', 'not_a_number'],
    ['NaN', 'not_a_number'],
    [`1.${'0'.repeat(40)}`, 'not_a_number'],
    [Number.NaN, 'not_a_number'],
    ['-1', 'negative'],
    [-7, 'negative'],
    ['0', 'zero'],
    [0, 'zero'],
    ['1e-400', 'zero'],
    ['1e400', 'out_of_range'],
    [Number.POSITIVE_INFINITY, 'out_of_range'],
    ['20', 'out_of_range'],
    [20, 'out_of_range'],
  ])('rejects %j as %s (R40, R41)', (value, problem) => {
    expect(parseSelfReportedScore({ best_val_bpb: value }, NOW_MS)).toMatchObject({ valBpb: null, problem });
  });

  it('rejects a score with a date that cannot be', () => {
    const claim = (updated: string | number) => parseSelfReportedScore({ best_val_bpb: '1.1', updated }, NOW_MS);
    expect(claim('2026-11-23T00:00:00Z')).toEqual({ valBpb: 1.1, updated: '2026-11-23T00:00:00.000Z', problem: null });
    expect(claim('2031-01-01')).toMatchObject({ valBpb: null, problem: 'future_date' });
    expect(claim('yesterday')).toMatchObject({ valBpb: null, problem: 'bad_date' });
    expect(claim(7)).toMatchObject({ valBpb: null, problem: 'bad_date' });
  });

  it('falls back to val_bpb and reads a missing score as none', () => {
    expect(parseSelfReportedScore({ val_bpb: '1.1' }, NOW_MS).valBpb).toBe(1.1);
    const none = { valBpb: null, updated: null, problem: null };
    expect(parseSelfReportedScore({}, NOW_MS)).toEqual(none);
    expect(parseSelfReportedScore({ updated: 'never' }, NOW_MS)).toEqual(none);
  });
});
