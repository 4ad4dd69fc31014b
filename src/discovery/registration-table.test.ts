import { describe, expect, it } from 'vitest';
import { chooseEndpoint } from './experiment-url.ts';
import { findMatchingSkill } from './oasf.ts';
import { parseRegistration, type Registration } from './registration.ts';

function read(document: unknown): Registration {
  const result = parseRegistration(document);
  if (!result.ok) throw new Error(result.reason);
  return result.registration;
}

const skill = 'devops_mlops/model_versioning';

describe('the type of a document', () => {
  it.each([
    'https://eips.ethereum.org/EIPS/eip-8004#registration-v1',
    'Agent',
    '',
    7,
    null,
    undefined,
    ['x'],
    { odd: true },
  ])('may be %j', (type) => {
    expect(read({ type, name: 'x', skills: [skill] })).toMatchObject({ nameUntrusted: 'x', skills: [{ name: skill }] });
  });
});

describe('the services of a document', () => {
  const endpoint = 'https://a.example';
  it.each([
    ['a list', { services: [{ name: 'WEB', endpoint }] }, [['web', endpoint]]],
    ['the older list', { endpoints: [{ name: 'Web', endpoint }] }, [['web', endpoint]]],
    [
      'an object of objects',
      { services: { Web: { endpoint }, OASF: {} } },
      [
        ['web', endpoint],
        ['oasf', null],
      ],
    ],
    [
      'an object of texts',
      { endpoints: { web: endpoint, ens: 'a.eth' } },
      [
        ['web', endpoint],
        ['ens', 'a.eth'],
      ],
    ],
    ['an object of odd values', { services: { web: 7, a2a: null, mcp: [endpoint] } }, []],
    ['a list of odd values', { services: [7, null, [endpoint], endpoint, {}] }, [['', null]]],
    ['url', { services: [{ name: 'web', url: endpoint }] }, [['web', endpoint]]],
    ['uri', { services: [{ name: 'web', uri: endpoint }] }, [['web', endpoint]]],
    ['all spellings', { services: [{ endpoint, url: 'https://b.example', uri: 'x' }] }, [['', endpoint]]],
    ['an empty endpoint beside a url', { services: [{ endpoint: '', url: endpoint }] }, [['', endpoint]]],
    [
      'odd endpoints',
      { services: [{ endpoint: { url: endpoint } }, { endpoint: true }] },
      [
        ['', null],
        ['', null],
      ],
    ],
    ['null', { services: null, endpoints: [{ name: 'web', endpoint }] }, [['web', endpoint]]],
  ])('are read from %s', (_what, document, expected) => {
    expect(read(document).services.map((service) => [service.name, service.endpoint])).toEqual(expected);
  });

  it.each([
    ['https://a.example/{agentId}', 'template_endpoint'],
    ['https://{host}.example/experiment', 'template_endpoint'],
    ['https://a.example/%7BagentId%7D', 'template_endpoint'],
    ['', 'no_endpoint'],
    ['not an address', 'no_endpoint'],
    ['ftp://a.example/experiment', 'no_endpoint'],
  ])('with the endpoint %j have none to ask: %s', (given, reason) => {
    expect(chooseEndpoint(read({ services: [{ name: 'web', endpoint: given }] }))).toEqual({ ok: false, reason });
  });
});

describe('the skills of a document', () => {
  it.each([
    ['a name in an object', { services: { OASF: { skills: [{ name: skill }] } } }, skill],
    ['a number id as text', { services: [{ name: 'oasf', version: 'v0.8.0', skills: ['1204'] }] }, skill],
    [
      'a number id that has a name',
      { oasf: { version: '0.8', skills: [{ id: 1204, name: 'human_resources' }] } },
      null,
    ],
    ['a number id of a later version', { oasf: { version: '1.1.0', skills: [{ id: 1204 }] } }, null],
    ['a single name at the top', { skills: skill }, skill],
    ['a single object at the top', { skills: { name: skill } }, skill],
    [
      'two entries, the second of which matches',
      { services: [{ name: 'oasf' }, { name: 'OASF', skills: [skill] }] },
      skill,
    ],
    ['a fourth level', { skills: [[[skill]]] }, skill],
    ['a fifth level', { skills: [[[[skill]]]] }, null],
    ['domains of an entry', { services: [{ name: 'oasf', domains: [skill] }] }, null],
    ['domains below oasf', { oasf: { domains: [skill] } }, null],
    ['odd values among them', { skills: [null, 7.5, true, {}, [], { id: -1 }, { name: '' }, skill] }, skill],
    ['the description', { description: skill, name: skill }, null],
  ])('are found in %s', (_what, document, expected) => {
    expect(findMatchingSkill(read(document).skills)).toBe(expected);
  });
});

describe('the flags of a document', () => {
  it.each([
    [true, true],
    [false, false],
    ['true', true],
    ['false', false],
    ['TRUE', null],
    [1, null],
    [null, null],
    [[true], null],
    [{ enabled: true }, null],
  ])('active of %j is %j', (active, expected) => {
    expect(read({ active }).active).toBe(expected);
  });

  it.each([
    [{ x402Support: false }, false],
    [{ x402Support: 'true' }, true],
    [{ x402support: true }, true],
    [{ x402Support: false, x402support: true }, false],
    [{ x402Support: null, x402support: true }, true],
    [{ x402Support: { enabled: true } }, true],
    [{ x402Support: { enabled: false } }, false],
    [{ x402support: { enabled: 'false' } }, false],
    [{ x402Support: { enabled: 1 } }, null],
    [{ x402Support: {} }, null],
    [{ x402Support: ['true'] }, null],
    [{ x402_support: true }, null],
  ])('x402 of %j is %j', (document, expected) => {
    expect(read(document).x402).toBe(expected);
  });
});

describe('the rest of a document', () => {
  it('is left out where it is no list of registrations', () => {
    const entry = { agentId: '1', agentRegistry: `eip155:1:0x${'1'.repeat(40)}` };
    for (const registrations of [entry, 'x', 7, null, { 0: entry }])
      expect(read({ registrations }).registrations).toEqual([]);
    expect(read({ registrations: [[entry], entry] }).registrations).toHaveLength(1);
  });

  it('is left out where it is no object of texts and numbers', () => {
    for (const metadata of [[1], 'x', 7, null]) expect(read({ metadata }).metadata).toEqual({});
    const values = { best_val_bpb: '1.1', list: [1], object: { a: 1 }, flag: true, nothing: null, number: 2 };
    expect(read({ autoresearch: values }).metadata).toEqual({ best_val_bpb: '1.1', number: 2 });
  });

  it.each(['__proto__', 'constructor', 'prototype'])('does not reach anything by the key %s', (key) => {
    const hostile = JSON.parse(`{"${key}":{"name":"x","active":true,"endpoint":"https://a.example"}}`);
    const registration = read({ ...hostile, services: hostile, metadata: hostile, oasf: hostile });
    expect(registration).toEqual(read({}));
  });
});
