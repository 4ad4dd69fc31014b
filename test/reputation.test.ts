import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Hex, keccak256 } from 'viem';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { silentLog } from '../src/base/log.ts';
import type { AgentIdentity } from '../src/discovery/agent-identity.ts';
import { NO_PROGRESS, readReputation } from '../src/discovery/reputation.ts';
import { ReputationBook } from '../src/discovery/reputation-book.ts';
import { canonicalAddresses } from '../src/localnet/contracts.ts';
import type { RpcNode } from '../src/net/rpc.ts';
import { createCache } from '../src/store/cache.ts';
import { openDatabase } from '../src/store/database.ts';
import { ReputationLab } from './reputation-lab.ts';

const { signal } = new AbortController();
let lab: ReputationLab;

beforeAll(async () => {
  lab = await ReputationLab.open();
});

afterAll(async () => {
  await lab?.close();
});

const read = (agentId: bigint, deps = lab.deps(), more = {}) =>
  readReputation(deps, lab.subject(agentId, more), NO_PROGRESS, signal);
const reputationOf = async (agentId: bigint, deps = lab.deps(), more = {}) =>
  (await read(agentId, deps, more))?.reputation;

/** A stranger who paid the agent's owner, and the file that says so. */
async function payer(value = 10_000n) {
  const { agentId, owner } = await lab.register();
  const client = await lab.stranger();
  const tx = await lab.pay(client, owner, value);
  return { agentId, owner, client, tx, parts: { agentId, client, payee: owner, tx } };
}

describe('a reputation', () => {
  it('of nobody is null, never 0, and so is that of an agent that does not exist', async () => {
    const { agentId } = await lab.register();
    expect(await read(agentId)).toMatchObject({ reputation: null, isComplete: true });
    expect(await read(10n ** 30n)).toMatchObject({ reputation: null, isComplete: true });
  });

  it('is not guessed where registry or node are not known', async () => {
    const { agentId } = await lab.register();
    expect(await read(agentId, lab.deps({ openRpc: async () => null }))).toBeNull();
    const foreign = { chainId: 31337, registry: canonicalAddresses.identity, agentId: '0' };
    expect(await read(agentId, lab.deps(), { agent: foreign })).toBeNull();
    const other = { ...lab.subject(agentId).agent, registry: canonicalAddresses.token.toLowerCase() };
    expect(await read(agentId, lab.deps(), { agent: other })).toBeNull();
  });

  it('has the exact mean of the ratings that stand, not the cut one of the registry', async () => {
    const { agentId } = await lab.register();
    const [a, b] = [await lab.stranger(), await lab.stranger()];
    await lab.rate(a, agentId, { value: 95n, tags: ['starred', 'x402'] });
    await lab.rate(a, agentId, { value: 9977n, decimals: 2, tags: ['starred', 'x402'] });
    await lab.rate(a, agentId, { value: 90n, tags: ['successRate', ''] });
    await lab.rate(b, agentId, { value: 40n });
    await lab.rate(b, agentId, { value: 80n, tags: ['successrate', ''] });
    await lab.rate(b, agentId, { value: 560n, tags: ['responsetime', 'ms'] });
    await lab.rate(b, agentId, { value: 5n, tags: ['Starred', ''] });
    const others = { count: 3, reviewers: 2, score: 78.257, successRate: 85, responseTimeMs: 560 };
    expect(await reputationOf(agentId)).toEqual({ trusted: null, paid: null, others });
  });

  it('leaves out values outside the scale, revoked rows, ourselves, and whoever is paid for the agent', async () => {
    const { agentId, owner } = await lab.register();
    const [a, wallet, us, payee] = await Promise.all(Array.from({ length: 4 }, () => lab.stranger()));
    if (!a || !wallet || !us || !payee) throw new Error('unreachable');
    await lab.rate(a, agentId, { value: 10n ** 38n });
    await lab.rate(a, agentId, { value: -1n });
    await lab.rate(a, agentId, { value: 50n });
    await lab.revoke(a, agentId, 3n);
    await lab.rate(us, agentId, { value: 0n });
    await lab.rate(payee, agentId, { value: 100n });
    expect(await reputationOf(agentId, lab.deps(), { ours: [us], payees: [payee] })).toBeNull();
    // The registry lets a former owner rate, and the next one's wallet as well.
    await lab.client.writeContract({
      address: canonicalAddresses.identity,
      abi: transferAbi,
      functionName: 'transferFrom',
      args: [owner, wallet, agentId],
      account: owner,
    });
    expect((await reputationOf(agentId, lab.deps(), { ours: [us] }))?.others).toMatchObject({ count: 1, score: 100 });
  });

  it('puts the reviewers whom the operator trusts first, in any spelling of their addresses', async () => {
    const { agentId } = await lab.register();
    const [friend, stranger] = [await lab.stranger(), await lab.stranger()];
    await lab.rate(friend, agentId, { value: 20n });
    await lab.rate(stranger, agentId, { value: 100n });
    const trustedReviewers = [`0x${friend.slice(2).toUpperCase()}`, 'no address'];
    const found = await reputationOf(agentId, lab.deps({ trustedReviewers }));
    expect(found?.trusted).toEqual({ count: 1, reviewers: 1, score: 20 });
    expect(found?.others).toEqual({ count: 1, reviewers: 1, score: 100 });
  });
});

const transferAbi = [
  {
    type: 'function',
    name: 'transferFrom',
    stateMutability: 'nonpayable',
    inputs: [
      { name: 'from', type: 'address' },
      { name: 'to', type: 'address' },
      { name: 'tokenId', type: 'uint256' },
    ],
    outputs: [],
  },
] as const;

describe('a rating with a proof of payment', () => {
  it('counts as paid when the chain has the payment', async () => {
    const { agentId, client, parts } = await payer();
    await lab.rateWithFile(client, agentId, lab.file(parts));
    const paid = { count: 1, reviewers: 1, score: 100 };
    expect(await reputationOf(agentId)).toEqual({ trusted: null, paid, others: null });
  });

  it('counts when its file is served on the web, and is tried again when it was not there', async () => {
    const { agentId, client, parts } = await payer();
    const bytes = lab.file(parts);
    const path = `/${client}`;
    await lab.rate(client, agentId, { uri: `${lab.filesUrl}${path}`, hash: keccak256(bytes) });
    const first = await read(agentId);
    expect(first).toMatchObject({ reputation: { paid: null, others: { count: 1 } }, isComplete: false });
    lab.files.set(path, bytes);
    const second = await readReputation(lab.deps(), lab.subject(agentId), first?.progress ?? NO_PROGRESS, signal);
    expect(second).toMatchObject({ reputation: { paid: { count: 1 }, others: null }, isComplete: true });
    lab.files.clear();
    const third = await readReputation(lab.deps(), lab.subject(agentId), second?.progress ?? NO_PROGRESS, signal);
    expect(third?.reputation).toEqual(second?.reputation);
  });

  it('counts a payment to an address that is known to be paid for the agent', async () => {
    const { agentId, client } = await payer();
    const till = await lab.stranger();
    const tx = await lab.pay(client, till, 1n);
    await lab.rateWithFile(client, agentId, lab.file({ agentId, client, payee: till, tx }));
    expect(await reputationOf(agentId)).toMatchObject({ paid: null, others: { count: 1 } });
    expect(await reputationOf(agentId, lab.deps(), { payees: [till] })).toMatchObject({ paid: { count: 1 } });
  });

  it('counts once, however often it is shown', async () => {
    const { agentId, client, parts } = await payer();
    for (let times = 0; times < 3; times += 1) await lab.rateWithFile(client, agentId, lab.file(parts));
    expect(await reputationOf(agentId)).toMatchObject({ paid: { count: 1, reviewers: 1 }, others: { count: 2 } });
  });

  it('is only shown when the payment was not that', async () => {
    const { agentId, owner, client, parts, tx } = await payer();
    const other = await lab.stranger();
    const fake = await lab.stranger();
    const code = await lab.client.getCode({ address: canonicalAddresses.token });
    await lab.client.setCode({ address: fake, bytecode: code ?? '0x' });
    const elsewhere = await lab.pay(client, other, 10_000n);
    const worthless = await lab.pay(client, owner, 10_000n, fake);
    const nothing = await lab.pay(client, owner, 0n);
    const reverted = await lab.client.sendTransaction({
      account: client,
      to: canonicalAddresses.token,
      data: '0x01',
      gas: 100_000n,
    });
    await lab.client.waitForTransactionReceipt({ hash: reverted });
    const files = {
      'to somebody else': { ...parts, payee: other, tx: elsewhere },
      'to somebody else, said to be to the owner': { ...parts, tx: elsewhere },
      'in another token': { ...parts, tx: worthless },
      'of nothing': { ...parts, tx: nothing },
      'in a transaction that failed': { ...parts, tx: reverted },
      'on a chain that we do not know': { ...parts, proof: { chainId: '99999' } },
      'of somebody else': { ...parts, proof: { fromAddress: other } },
      'without a transaction': { ...parts, proof: { txHash: '0x12' } },
    };
    for (const file of Object.values(files)) await lab.rateWithFile(client, agentId, lab.file(file));
    // The same payment, claimed by one who did not make it.
    await lab.rateWithFile(other, agentId, lab.file({ ...parts, client: other }));
    await lab.rateWithFile(other, agentId, lab.file({ ...parts, tx }));
    expect(await reputationOf(agentId)).toMatchObject({ paid: null, others: { count: 10, reviewers: 2 } });
  });

  it('is only shown when the file is not that of the row', async () => {
    const { agentId, client, parts } = await payer();
    const rate = (changes: Readonly<Record<string, unknown>>) =>
      lab.rateWithFile(client, agentId, lab.file({ ...parts, changes }));
    await rate({ agentId: Number(agentId) + 1 });
    await rate({ agentRegistry: `eip155:8453:${canonicalAddresses.identity}` });
    await rate({ value: 99 });
    await rate({ value: 1e30 });
    await rate({ valueDecimals: 2 });
    await rate({ clientAddress: 'eip155:84532:0x2222222222222222222222222222222222222222' });
    await rate({ proofOfPayment: null });
    const bytes = lab.file(parts);
    await lab.rateWithFile(client, agentId, bytes, { hash: keccak256('0x00') });
    await lab.rateWithFile(client, agentId, bytes, { hash: `0x${'0'.repeat(64)}` });
    expect(await reputationOf(agentId)).toMatchObject({ paid: null, others: { count: 9 } });
  });

  it('does no harm with a file that is none', async () => {
    const { agentId, client } = await payer();
    const huge = new Uint8Array(200_000).fill(0x20);
    lab.files.set('/huge', huge);
    const deep = new TextEncoder().encode(`{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}}`);
    lab.files.set('/deep', deep);
    const uris: readonly (readonly [string, Hex])[] = [
      ['data:', keccak256('0x')],
      ['data:application/json;base64,@@@', keccak256('0x')],
      ['data:,%FF%FE', keccak256('0xfffe')],
      ['javascript:alert(1)', keccak256('0x')],
      ['http://169.254.169.254/latest', keccak256('0x')],
      ['https://localhost/x', keccak256('0x')],
      [`${lab.filesUrl}/huge`, keccak256(huge)],
      [`${lab.filesUrl}/deep`, keccak256(deep)],
      ['{"proofOfPayment":{}}', keccak256('0x')],
      [`data:,${'x'.repeat(20_000)}`, keccak256('0x')],
    ];
    for (const [uri, hash] of uris) await lab.rate(client, agentId, { uri, hash });
    const found = await read(agentId);
    expect(found?.reputation).toMatchObject({ paid: null, others: { count: uris.length } });
    expect(found?.progress.waiting).toEqual([]);
  });

  it('never counts when it is from the agent itself', async () => {
    const { agentId, owner, client, parts } = await payer();
    await lab.rateWithFile(client, agentId, lab.file(parts));
    expect(await reputationOf(agentId, lab.deps(), { payees: [client] })).toBeNull();
    expect(owner).not.toBe(client);
  });
});

describe('a flood of ratings', () => {
  /** A node that takes no more than so many bytes of an answer to a batch, as providers do. */
  const narrow = (node: RpcNode, maxChars: number): RpcNode => ({
    ...node,
    batch: async (calls, options) => {
      const outcomes = await node.batch(calls, options);
      return outcomes.map((outcome) =>
        outcome.ok && String(outcome.value).length > maxChars
          ? { ok: false, rpcCode: -32_000, data: undefined }
          : outcome,
      );
    },
  });

  it('of 10,000 rows is read within bounds, and keeps nobody from reading the others', async () => {
    const { agentId } = await lab.register();
    const [friend, stranger] = [await lab.stranger(), await lab.stranger()];
    await lab.rate(friend, agentId, { value: 10n });
    await lab.rateInBulk(agentId, 10_000, { value: 100n });
    await lab.rate(stranger, agentId, { value: 30n });
    const calls: number[] = [];
    const counting: RpcNode = {
      ...lab.rpc,
      batch: (batch, options) => {
        calls.push(batch.length);
        return lab.rpc.batch(batch, options);
      },
    };
    const found = await read(agentId, lab.deps({ trustedReviewers: [friend], openRpc: async () => counting }));
    expect(found?.reputation?.trusted).toEqual({ count: 1, reviewers: 1, score: 10 });
    expect(found?.reputation?.others?.reviewers).toBe(2);
    expect(found?.reputation?.others?.count).toBeLessThanOrEqual(10_001);
    expect(calls.length).toBeLessThan(60);
  });

  it('is read in slices where the node refuses large answers, the newest rows of one who has too many', async () => {
    const { agentId } = await lab.register();
    const spammer = await lab.rateInBulk(agentId, 400, { value: 100n });
    const honest = await Promise.all(Array.from({ length: 12 }, () => lab.stranger()));
    for (const client of honest) await lab.rate(client, agentId, { value: 50n });
    const openRpc = async () => narrow(lab.rpc, 8_000);
    const found = await read(agentId, lab.deps({ openRpc }));
    expect(found?.isComplete).toBe(false);
    // 50 of the flood are read, and each honest row.
    expect(found?.reputation?.others).toMatchObject({ count: 62, reviewers: 13 });
    const trusted = await read(agentId, lab.deps({ openRpc, trustedReviewers: [spammer] }));
    expect(trusted?.reputation).toMatchObject({ trusted: { count: 50 }, others: { count: 12, score: 50 } });
  });

  it('is left alone by a node that answers nothing', async () => {
    const { agentId } = await lab.register();
    await lab.rate(await lab.stranger(), agentId);
    const dumb: RpcNode = { ...lab.rpc, batch: async (calls) => calls.map(() => ({ ok: true, value: '0x1234' })) };
    expect(await read(agentId, lab.deps({ openRpc: async () => dumb }))).toBeNull();
  });
});

describe('the book of reputations', () => {
  const describe = async (agent: AgentIdentity) => ({ agent, payees: [], ours: [] });

  it('reads in the background, keeps what it read for other processes, and knows its age', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'autoresearch-reputation-'));
    const db = await openDatabase(folder);
    onTestFinished(async () => {
      await db.destroy();
      rmSync(folder, { recursive: true, force: true });
    });
    const { agentId, client, parts } = await payer();
    await lab.rateWithFile(client, agentId, lab.file(parts));
    await lab.rate(client, agentId, { value: 0n, uri: `${lab.filesUrl}/later`, hash: keccak256('0x00') });
    let nowMs = Date.now();
    let opened = 0;
    const openRpc = async () => {
      opened += 1;
      return lab.rpc;
    };
    const open = (trustedReviewers: readonly string[] = []) => {
      const clock = { nowMs: () => nowMs };
      const deps = lab.deps({ openRpc, trustedReviewers });
      const book = new ReputationBook({ ...deps, describe, cache: createCache(db), clock, log: silentLog });
      onTestFinished(() => book.close());
      return book;
    };
    const subject = lab.subject(agentId);
    const book = open();
    expect(await book.peek(subject.agent)).toBeUndefined();
    await book.refresh([subject.agent, subject.agent], 20_000);
    const reputation = { trusted: null, paid: { count: 1 }, others: { count: 1, score: 0 } };
    expect(await book.peek(subject.agent)).toMatchObject({ reputation, ageSeconds: 0 });
    const before = opened;
    nowMs += 5 * 60_000;
    const other = open();
    await other.refresh([subject.agent], 20_000);
    expect(await other.peek(subject.agent)).toMatchObject({ reputation, ageSeconds: 300 });
    expect(opened).toBe(before);
    // What was not complete is gone on with after a while, without proving again what is proven.
    nowMs += 6 * 60_000;
    await other.refresh([subject.agent], 20_000);
    expect(await other.peek(subject.agent)).toMatchObject({ reputation, ageSeconds: 0 });
    expect(opened).toBe(before + 1);
    // Other reviewers make another reputation.
    expect(await open([client]).peek(subject.agent)).toBeUndefined();
  });

  it('asks a chain that cannot be read no more often than once a minute', async () => {
    const { agentId } = await lab.register();
    const kept = new Map<string, unknown>();
    let nowMs = 0;
    let opened = 0;
    const cache = { load: async () => undefined, save: async (key: string) => void kept.set(key, true) };
    const openRpc = async () => {
      opened += 1;
      return null;
    };
    const deps = { ...lab.deps({ openRpc }), describe, cache, clock: { nowMs: () => nowMs }, log: silentLog };
    const book = new ReputationBook(deps);
    const subject = lab.subject(agentId);
    await book.refresh([subject.agent], 5_000);
    await book.refresh([subject.agent], 5_000);
    expect(opened).toBe(1);
    nowMs += 61_000;
    await book.refresh([subject.agent], 5_000);
    expect(opened).toBe(2);
    expect(kept.size).toBe(0);
    await book.close();
  });
});
