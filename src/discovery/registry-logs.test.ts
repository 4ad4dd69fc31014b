import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RpcNode } from '../net/rpc.ts';
import { findRegistryPlace } from './registries.ts';
import { fetchSeenAgents, readClaims } from './registry-logs.ts';

const SKILL = 'devops_mlops/model_versioning';
const place = findRegistryPlace(84532);
if (!place) throw new Error('Base Sepolia has a registry');
const { signal } = new AbortController();

/** A node that gives one answer to everything. */
function answering(value: unknown): RpcNode {
  return { request: async () => value, batch: async () => [] };
}

describe('logs of the registry', () => {
  it('never stop a scan, whatever they hold', async () => {
    const word = fc.oneof(
      fc.constantFrom(
        '0x3a2c7fffc2cba7582c690e3b82c453ea02a308326a98a3ad7576c606336409fb',
        '0xca52e62c367d81bb2e328eb795f7c7ba24afb478408a26c0e201d155c449bc4a',
        `0x${'0'.repeat(63)}7`,
      ),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => `0x${Buffer.from(bytes).toString('hex')}`),
    );
    const log = fc.record({
      address: fc.constantFrom(place.address, '0x', ''),
      topics: fc.array(word, { maxLength: 5 }),
      data: fc.oneof(
        fc.uint8Array({ maxLength: 200 }).map((bytes) => `0x${Buffer.from(bytes).toString('hex')}`),
        word,
      ),
      blockNumber: fc.constantFrom('0x1', '0x2', '0x9', '0x', 'x', 1),
      logIndex: fc.constantFrom('0x0', '0xffffffffffffffff'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(log, fc.anything()), { maxLength: 8 }), async (logs) => {
        const seen = await fetchSeenAgents(answering(logs), place, { from: 1, to: 2 }, signal);
        for (const { agentId, block } of seen) {
          expect(agentId).toMatch(/^\d+$/);
          expect([1, 2]).toContain(block);
        }
      }),
    );
  });

  it.each([[null], ['0x'], [{}], [7]])('are refused as a whole when the answer is %j', async (answer) => {
    await expect(fetchSeenAgents(answering(answer), place, { from: 1, to: 2 }, signal)).rejects.toThrow('eth_getLogs');
  });
});

describe('what an agentURI tells without asking anybody', () => {
  const inline = (document: unknown) => `data:application/json,${encodeURIComponent(JSON.stringify(document))}`;

  it.each([
    [inline({ services: [{ name: 'OASF', skills: [SKILL] }] }), [SKILL], null],
    [inline({ services: [] }), [], null],
    [inline([]), [], 'bad_registration'],
    ['data:application/json;base64,%%%', [], 'bad_body'],
    ['', [], 'no_uri'],
    ['javascript:alert(1)', [], 'unsupported_uri'],
  ])('%s', (uri, names, reason) => {
    const { claims, reason: found } = readClaims(uri);
    expect(claims?.map(({ name }) => name)).toEqual(names);
    expect(found).toBe(reason);
  });

  it.each(['https://worker.example/file.json', 'ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'])(
    '%s has to be fetched',
    (uri) => expect(readClaims(uri)).toEqual({ claims: null, reason: null }),
  );

  it('is capped: fifty skills of two hundred characters', () => {
    const skills = Array.from({ length: 400 }, (_, index) => `${index}/${'x'.repeat(1_000)}`);
    const { claims } = readClaims(inline({ services: [{ name: 'OASF', skills }] }));
    expect(claims?.length).toBeLessThanOrEqual(50);
    expect(JSON.stringify(claims).length).toBeLessThan(50 * 260);
  });
});

describe('the table of registries', () => {
  it('knows where the log of each chain begins, lets the operator say otherwise, and guesses nothing', () => {
    expect(findRegistryPlace(8453)).toEqual({
      chainId: 8453,
      address: '0x8004a169fb4a3325136eb29fa0ceb6d2e539a432',
      startBlock: 41_663_799,
    });
    expect(place).toEqual({
      chainId: 84532,
      address: '0x8004a818bfb912233c491871b3d84c89a494bd9e',
      startBlock: 37_174_254,
    });
    expect(findRegistryPlace(31337)).toBeUndefined();
    const own = { chainId: 31337, address: `0x${'1'.repeat(40)}`, startBlock: 5 } as const;
    expect(findRegistryPlace(31337, [own])).toEqual(own);
  });
});
