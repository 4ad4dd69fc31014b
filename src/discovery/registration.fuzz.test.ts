import fc from 'fast-check';
import { expect, it } from 'vitest';
import { leaf, listOf, objectOf, oneOf, orHostile } from '../../test/hostile-json.ts';
import { parseAgentUri } from './agent-uri.ts';
import { chooseEndpoint } from './experiment-url.ts';
import { findMatchingSkill, SKILL_ALIASES } from './oasf.ts';
import { parseRegistration, type Registration } from './registration.ts';
import { parseSelfReportedScore } from './self-reported.ts';

const RUNS = 100_000;
/** Against a parser that hangs, on a machine that is busy, in milliseconds. */
const GUARD_MS = 300_000;
const NOW_MS = Date.parse('2026-11-23T12:00:00Z');
const REGISTRY = `0x${'aB'.repeat(20)}`;

const skillName = oneOf(
  'devops_mlops/model_versioning',
  ' /DevOps_MLOps/Model_Versioning/ ',
  'ai_ml_engineering/ml_lifecycle/model_versioning',
  'machine_learning/model_optimization',
  'vision/detection',
  '1204',
);
const skillId = fc.constantFrom('1204', '71402', '"71402"', '3');
const version = oneOf('v0.8.0', '1.0.4', '1.1.0', 'v2', 'latest');
const skill = orHostile(skillName, skillId, objectOf({ name: skillName, id: skillId }, 3));
const skills = orHostile(skillName, listOf(skill), listOf(listOf(skill)));
const url = oneOf(
  'https://gpu.example/services/worker/experiment/',
  'https://gpu.example/services/worker?x=1#y',
  'HTTPS://GPU.example:443/experiment//',
  'http://rig.example',
  'https://user:pw@gpu.example/',
  'https://platform.example/{agentId}',
  'https://platform.example/%7Bid%7D',
  'https://169.254.169.254/latest',
  'https://gpu.example/" onload="x<script>',
  'https:\\\\gpu.example\\x',
  `https://gpu.example/${'x'.repeat(300)}`,
  'javascript:alert(1)',
  'wss://gpu.example',
  'ens.eth',
);
const serviceName = oneOf('web', 'Web', 'OASF', 'oasf', 'A2A', 'mcp', 'ens', 'email', 'DID');
const service = orHostile(
  objectOf({ name: serviceName, endpoint: orHostile(url), url, uri: url, skills, version, domains: skills }),
);
const services = orHostile(listOf(service, 4), objectOf({ web: orHostile(url, service), OASF: service, ens: url }));
const flag = fc.constantFrom('true', 'false', '"true"', '"false"', '1', '"yes"', 'null');
const registry = oneOf(`eip155:8453:${REGISTRY}`, REGISTRY, 'eip155:0:0x00', `eip155:8453:${REGISTRY}:7`, 'solana:1:x');
const agentNumber = orHostile(fc.constantFrom('0', '7', '"0"', '"007"'));
const registration = orHostile(objectOf({ agentId: agentNumber, agentRegistry: orHostile(registry) }, 3));
const scoreText = oneOf('0.9973', ' 1.5 ', '-1', 'n/a', '0x1', '1e400', '20', '19.99', '0', '1e-5');
const score = orHostile(scoreText, fc.constantFrom('1.03', '-7', '0', '20', '1e400'));
const time = oneOf('2026-09-01T10:30:00Z', 'yesterday', '+275760-09-13T00:00:00.000Z', '0');
const metadata = orHostile(objectOf({ best_val_bpb: score, val_bpb: score, updated: orHostile(time), gpu: leaf }));
const document = orHostile(
  objectOf(
    {
      type: leaf,
      name: leaf,
      description: leaf,
      services,
      endpoints: services,
      skills,
      oasf: orHostile(skills, objectOf({ skills, version, domains: skills })),
      x402Support: orHostile(flag, objectOf({ enabled: flag }, 2)),
      x402support: flag,
      active: orHostile(flag),
      registrations: orHostile(listOf(registration)),
      metadata,
      autoresearch: metadata,
    },
    12,
  ),
);

const INVISIBLE = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800]/u;

/** What `expect` would cost a hundred thousand times is more than what it tests. */
function must(rule: string, isKept: boolean): void {
  if (!isKept) throw new Error(`broken: ${rule}`);
}

function mustBeClean(text: string | null, maxChars: number): void {
  if (text === null) return;
  must('a length', text !== '' && [...text].length <= maxChars);
  must('nothing invisible', !INVISIBLE.test(text) && text.trim() === text && text.isWellFormed());
}

const own = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null ? Object.getOwnPropertyDescriptor(value, key)?.value : undefined;
const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);
/** `[]` and objects spell no flag, though they have a text. */
const readFlag = (value: unknown) =>
  value === true || value === 'true' ? true : value === false || value === 'false' ? false : null;

/** What section 8 says of flags, written down a second time. */
function checkFlags(read: Registration, given: unknown): void {
  const support = own(given, 'x402Support') ?? own(given, 'x402support');
  must('x402', read.x402 === readFlag(isObject(support) ? own(support, 'enabled') : support));
  must('active', read.active === readFlag(own(given, 'active')));
}

function checkParts(read: Registration, given: string): void {
  mustBeClean(read.nameUntrusted, 80);
  mustBeClean(read.descriptionUntrusted, 300);
  must('few services', read.services.length <= 100);
  for (const { name, endpoint } of read.services) {
    must('service name', name === name.toLowerCase() && name.length <= 80);
    must('service endpoint', endpoint === null || (endpoint !== '' && endpoint.trim() === endpoint));
  }
  must('few skills', read.skills.length <= 500);
  for (const { name, id } of read.skills)
    must('skill', (name === null || name !== '') && (id === null || id >= 0) && (name !== null || id !== null));
  must('few registrations', read.registrations.length <= 200);
  for (const { chainId, registry: address, agentId } of read.registrations) {
    must('chain id', Number.isSafeInteger(chainId) && chainId > 0 && given.includes(`eip155:${chainId}:`));
    must('registry', /^0x[0-9a-f]{40}$/.test(address));
    must('agent id', /^(0|[1-9]\d*)$/.test(agentId) && BigInt(agentId) < 2n ** 256n);
  }
  must('plain metadata', Object.getPrototypeOf(read.metadata) === Object.prototype);
  for (const [key, value] of Object.entries(read.metadata)) {
    must('metadata key', !['__proto__', 'constructor', 'prototype'].includes(key) && key.length <= 80);
    must('metadata value', typeof value === 'number' || (typeof value === 'string' && value.length <= 256));
  }
}

/** What follows from a registration: a skill, a score, an address to ask. @returns whether there is one */
function checkConclusions(read: Registration): boolean {
  const matched = findMatchingSkill(read.skills);
  must('matched skill', matched === null || SKILL_ALIASES.includes(matched));
  const { valBpb, updated } = parseSelfReportedScore(read.metadata, NOW_MS);
  must('score', valBpb === null || (valBpb > 0 && valBpb < 20));
  must('time', updated === null || /^[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(updated));
  const choice = chooseEndpoint(read);
  if (!choice.ok) return false;
  const { endpoint } = choice;
  must('letters of the endpoint', /^https?:\/\/[^\s"<>\\^`{|}?#@]+$/.test(endpoint) && endpoint.length <= 200);
  must('end of the endpoint', !/\/$|\/experiment$|%7B.*%7D/i.test(endpoint));
  const url = new URL(endpoint);
  must('one spelling', `${url.origin}${url.pathname}`.replace(/\/$/, '') === endpoint);
  return true;
}

it(
  `reads ${RUNS} hostile registrations without a fault, and keeps every rule for those that it accepts`,
  {
    timeout: GUARD_MS,
  },
  () => {
    let accepted = 0;
    let chosen = 0;
    fc.assert(
      fc.property(document, (text) => {
        const given: unknown = JSON.parse(text);
        const result = parseRegistration(given);
        must('objects alone', result.ok === isObject(given));
        if (!result.ok) return;
        accepted += 1;
        checkFlags(result.registration, given);
        checkParts(result.registration, text);
        if (checkConclusions(result.registration)) chosen += 1;
        must('no pollution', !Object.hasOwn(Object.prototype, 'polluted'));
      }),
      { numRuns: RUNS },
    );
    // Generated documents are worth something only if many are nearly good.
    expect(accepted).toBeGreaterThan(RUNS / 2);
    expect(chosen).toBeGreaterThan(RUNS / 20);
  },
);

it('reads agentURIs of any form without a fault, and says of each what it is', { timeout: GUARD_MS }, () => {
  const payload = fc.oneof(
    document,
    document.map(encodeURIComponent),
    document.map((text) => Buffer.from(text).toString('base64')),
  );
  const prefix = fc.constantFrom(
    '',
    'data:,',
    'data:application/json;base64,',
    'data:;base64,',
    'DATA:x;charset=utf-8,',
    'data:',
  );
  const address = fc.oneof(url.map((text): unknown => JSON.parse(text)).map(String), fc.webUrl(), fc.string());
  const ipfs = fc.tuple(
    fc.constantFrom('ipfs://', 'IPFS://ipfs/', ''),
    fc.constantFrom('QmX', `Qm${'a'.repeat(44)}`, `baf${'a'.repeat(56)}`),
    fc.string(),
  );
  const uri = fc.oneof(
    fc.tuple(prefix, payload).map((parts) => parts.join('')),
    address,
    ipfs.map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(uri, (text) => {
      const parsed = parseAgentUri(text);
      if (parsed.kind === 'web') expect(parsed.url.protocol).toMatch(/^https?:$/);
      if (parsed.kind === 'ipfs') {
        expect(parsed.path).toMatch(/^[A-Za-z0-9]+(\/[\w.!~*'()%-]*)*$/);
        const resolved = new URL(`https://gateway.example/ipfs/${parsed.path}`);
        expect(resolved.href).toMatch(/^https:\/\/gateway\.example\/ipfs\/./);
      }
      if (parsed.kind === 'inline' && parsed.result.ok) parseRegistration(parsed.result.value);
    }),
    { numRuns: 20_000 },
  );
});
