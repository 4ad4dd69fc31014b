import { type Address, getContract, type Hex, keccak256, parseEventLogs, toHex, zeroAddress, zeroHash } from 'viem';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { reputationRegistryAbi as abi, identityRegistryAbi } from '../src/base/abi.ts';
import { artifacts, canonicalAddresses } from '../src/localnet/contracts.ts';
import { deploy, devAccount, placeCanonical, revertOf, startChain, type TestChain } from './contracts-chain.ts';

const owner = devAccount(1).address;
const buyer = devAccount(2).address;
const approved = devAccount(3).address;
const operator = devAccount(4).address;
const clientA = devAccount(5).address;
const clientB = devAccount(6).address;
const clientD = devAccount(7).address;
const walletAccount = devAccount(8);
const HASH = keccak256(toHex('feedback file'));
const LIMIT = 10n ** 38n;

let chain: TestChain;
let snapshot: Hex;

beforeAll(async () => {
  chain = await startChain();
  await placeCanonical(chain, 'identity');
  await placeCanonical(chain, 'reputation');
  for (let id = 0; id < 2; id++) await chain.succeed(identity().write.register(['data:,'], { account: owner }));
});
afterAll(() => chain.stop());
beforeEach(async () => {
  snapshot = await chain.client.snapshot();
});
afterEach(() => chain.client.revert({ id: snapshot }));

function identity() {
  return getContract({ address: canonicalAddresses.identity, abi: identityRegistryAbi, client: chain.client });
}

function registry() {
  return getContract({ address: canonicalAddresses.reputation, abi, client: chain.client });
}

interface Row {
  readonly agentId?: bigint;
  readonly value?: bigint;
  readonly decimals?: number;
  readonly tags?: readonly [string, string];
}

function feedbackArgs({ agentId = 0n, value = 1n, decimals = 0, tags = ['', ''] }: Row) {
  return [agentId, value, decimals, tags[0], tags[1], 'https://w.example', 'ipfs://f', HASH] as const;
}

function give(account: Address, row: Row = {}) {
  return chain.succeed(registry().write.giveFeedback(feedbackArgs(row), { account }));
}

function revertOfGiving(account: Address, row: Row = {}) {
  return revertOf(registry().simulate.giveFeedback(feedbackArgs(row), { account }));
}

function summary(clients: readonly Address[], tag1 = '', tag2 = '', agentId = 0n) {
  return registry().read.getSummary([agentId, clients, tag1, tag2]);
}

/** The rows from which the published golden values of getSummary were measured. */
async function giveGoldenRows(): Promise<void> {
  await give(clientA, { value: 95n, tags: ['starred', 'x402'] });
  await give(clientA, { value: 9977n, decimals: 2, tags: ['starred', 'x402'] });
  await give(clientA, { value: 1n, tags: ['successRate', ''] });
  await give(clientB, { value: 40n, tags: ['starred', ''] });
  await give(clientB, { value: 560n, tags: ['responseTime', 'ms'] });
  await give(clientD, { value: -40n, decimals: 1, tags: ['pnl', ''] });
  await give(clientD, { value: -5n, tags: ['pnl', ''] });
  await give(clientD, { value: -15n, decimals: 1, tags: ['pnl', ''] });
}

describe('reputation registry: deployment', () => {
  it('keeps the identity address in its code, and the artifact holds the code of a deployment', async () => {
    const deployed = await deploy(chain, 'reputation');
    expect(await chain.client.getCode({ address: deployed })).toBe(artifacts.reputation.deployedBytecode);
    expect(await chain.client.getCode({ address: canonicalAddresses.reputation })).toBe(
      artifacts.reputation.deployedBytecode,
    );
    expect(await registry().read.getIdentityRegistry()).toBe(canonicalAddresses.identity);
    expect(await registry().read.getVersion()).toBe('2.0.0');
  });
});

describe('reputation registry: giveFeedback', () => {
  it('checks decimals, value, existence and relation in this order', async () => {
    const unknown = { agentId: 99n };
    expect(await revertOfGiving(owner, { ...unknown, decimals: 19, value: LIMIT + 1n })).toBe('too many decimals');
    expect(await revertOfGiving(owner, { ...unknown, value: LIMIT + 1n })).toBe('value too large');
    expect(await revertOfGiving(owner, { ...unknown, value: -LIMIT - 1n })).toBe('value too large');
    expect(await revertOfGiving(owner, { ...unknown, value: -(2n ** 127n) })).toBe('value too large');
    expect(await revertOfGiving(owner, unknown)).toBe('ERC721NonexistentToken(99)');
    expect(await revertOfGiving(owner)).toBe('Self-feedback not allowed');
  });

  it('accepts the extremes', async () => {
    await give(clientA, { value: LIMIT, decimals: 18 });
    await give(clientA, { value: -LIMIT });
    expect(await registry().read.readFeedback([0n, clientA, 2n])).toEqual([-LIMIT, 0, '', '', false]);
  });

  it('refuses owner, approved address and operator', async () => {
    await chain.succeed(identity().write.approve([approved, 0n], { account: owner }));
    await chain.succeed(identity().write.setApprovalForAll([operator, true], { account: owner }));
    for (const account of [owner, approved, operator]) {
      expect(await revertOfGiving(account)).toBe('Self-feedback not allowed');
    }
  });

  it('lets the holder of the agent wallet rate', async () => {
    const deadline = (await chain.client.getBlock()).timestamp + 200n;
    const signature = await walletAccount.signTypedData({
      domain: {
        name: 'ERC8004IdentityRegistry',
        version: '1',
        chainId: 84532,
        verifyingContract: canonicalAddresses.identity,
      },
      types: {
        AgentWalletSet: [
          { name: 'agentId', type: 'uint256' },
          { name: 'newWallet', type: 'address' },
          { name: 'owner', type: 'address' },
          { name: 'deadline', type: 'uint256' },
        ],
      },
      primaryType: 'AgentWalletSet',
      message: { agentId: 0n, newWallet: walletAccount.address, owner, deadline },
    });
    const args = [0n, walletAccount.address, deadline, signature] as const;
    await chain.succeed(identity().write.setAgentWallet(args, { account: owner }));
    await give(walletAccount.address);
    expect(await registry().read.getLastIndex([0n, walletAccount.address])).toBe(1n);
  });

  it('after a transfer the old owner may rate, the new one may not, and old feedback stays', async () => {
    await give(clientA, { value: 7n });
    await chain.succeed(identity().write.transferFrom([owner, buyer, 0n], { account: owner }));
    await give(owner, { value: 9n });
    expect(await revertOfGiving(buyer)).toBe('Self-feedback not allowed');
    expect(await registry().read.getClients([0n])).toEqual([clientA, owner]);
    expect(await registry().read.readFeedback([0n, clientA, 1n])).toEqual([7n, 0, '', '', false]);
  });

  it('stores five fields and puts endpoint, URI and hash into the event only', async () => {
    const receipt = await give(clientA, { value: 9977n, decimals: 2, tags: ['starred', 'x402'] });
    const [log] = parseEventLogs({ abi, logs: receipt.logs, eventName: 'NewFeedback' });
    expect(log?.args).toEqual({
      agentId: 0n,
      clientAddress: clientA,
      feedbackIndex: 1n,
      value: 9977n,
      valueDecimals: 2,
      indexedTag1: '0xd6be4ef8f6e81499fcacb6176a8acae193c21b062774e32379bf3b823e83bd19',
      tag1: 'starred',
      tag2: 'x402',
      endpoint: 'https://w.example',
      feedbackURI: 'ipfs://f',
      feedbackHash: HASH,
    });
    expect(await registry().read.readFeedback([0n, clientA, 1n])).toEqual([9977n, 2, 'starred', 'x402', false]);
  });

  it('counts from 1 per agent and client, and lists a client once', async () => {
    await give(clientB);
    await give(clientA);
    await give(clientB);
    await give(clientB, { agentId: 1n });
    expect(await registry().read.getLastIndex([0n, clientB])).toBe(2n);
    expect(await registry().read.getLastIndex([0n, clientA])).toBe(1n);
    expect(await registry().read.getLastIndex([1n, clientB])).toBe(1n);
    expect(await registry().read.getClients([0n])).toEqual([clientB, clientA]);
    expect(await registry().read.getLastIndex([99n, clientA])).toBe(0n);
    expect(await registry().read.getClients([99n])).toEqual([]);
  });
});

describe('reputation registry: revokeFeedback and readFeedback', () => {
  it('refuses index 0 and indexes past the end', async () => {
    await give(clientA);
    const { read, simulate } = registry();
    expect(await revertOf(read.readFeedback([0n, clientA, 0n]))).toBe('index must be > 0');
    expect(await revertOf(read.readFeedback([0n, clientA, 2n]))).toBe('index out of bounds');
    expect(await revertOf(read.readFeedback([99n, clientA, 1n]))).toBe('index out of bounds');
    expect(await revertOf(simulate.revokeFeedback([0n, 0n], { account: clientA }))).toBe('index must be > 0');
    expect(await revertOf(simulate.revokeFeedback([0n, 2n], { account: clientA }))).toBe('index out of bounds');
    expect(await revertOf(simulate.revokeFeedback([0n, 1n], { account: clientB }))).toBe('index out of bounds');
  });

  it('revokes once; the row stays readable and its client stays listed', async () => {
    await give(clientA, { value: 95n, tags: ['starred', ''] });
    const receipt = await chain.succeed(registry().write.revokeFeedback([0n, 1n], { account: clientA }));
    expect(parseEventLogs({ abi, logs: receipt.logs, eventName: 'FeedbackRevoked' })[0]?.args).toEqual({
      agentId: 0n,
      clientAddress: clientA,
      feedbackIndex: 1n,
    });
    expect(await revertOf(registry().simulate.revokeFeedback([0n, 1n], { account: clientA }))).toBe('Already revoked');
    expect(await registry().read.readFeedback([0n, clientA, 1n])).toEqual([95n, 0, 'starred', '', true]);
    expect(await registry().read.getClients([0n])).toEqual([clientA]);
    expect(await registry().read.getLastIndex([0n, clientA])).toBe(1n);
  });
});

describe('reputation registry: getSummary', () => {
  it('gives the published golden values', async () => {
    await giveGoldenRows();
    const both = [clientA, clientB];
    expect(await summary(both, 'starred')).toEqual([3n, 78n, 0]);
    expect(await summary([clientA], 'starred')).toEqual([2n, 97n, 0]);
    expect(await summary([clientA, clientA], 'starred')).toEqual([4n, 97n, 0]);
    expect(await summary(both, 'starred', 'x402')).toEqual([2n, 97n, 0]);
    expect(await summary(both)).toEqual([5n, 159n, 0]);
    expect(await summary([clientD], 'pnl')).toEqual([3n, -35n, 1]);
    expect(await summary([clientA], 'Starred')).toEqual([0n, 0n, 0]);
    expect(await summary([clientA], 'zzz')).toEqual([0n, 0n, 0]);
    await chain.succeed(registry().write.revokeFeedback([0n, 1n], { account: clientA }));
    expect(await summary(both, 'starred')).toEqual([2n, 69n, 0]);
  });

  it('needs clients, and answers zero for unknown agents and clients', async () => {
    expect(await revertOf(summary([]))).toBe('clientAddresses required');
    expect(await summary([clientA], '', '', 99n)).toEqual([0n, 0n, 0]);
    expect(await summary([clientB])).toEqual([0n, 0n, 0]);
  });

  it('takes the smaller number of decimals on a tie and cuts towards zero', async () => {
    await give(clientA, { value: -199n, decimals: 2 });
    await give(clientA, { value: -19n, decimals: 1 });
    expect(await summary([clientA])).toEqual([2n, -19n, 1]);
  });

  it('carries the largest values without overflow', async () => {
    for (let row = 0; row < 3; row++) await give(clientA, { value: LIMIT });
    expect(await summary([clientA])).toEqual([3n, LIMIT, 0]);
  });
});

describe('reputation registry: readAllFeedback', () => {
  function readAll(clients: readonly Address[], tag1 = '', tag2 = '', includeRevoked = false, agentId = 0n) {
    return registry().read.readAllFeedback([agentId, clients, tag1, tag2, includeRevoked]);
  }

  it('orders by client, then index, for all clients when none is named', async () => {
    await give(clientB, { value: 1n, tags: ['starred', 'x402'] });
    await give(clientA, { value: 2n, decimals: 1, tags: ['starred', ''] });
    await give(clientB, { value: 3n, tags: ['pnl', 'day'] });
    expect(await readAll([])).toEqual([
      [clientB, clientB, clientA],
      [1n, 2n, 1n],
      [1n, 3n, 2n],
      [0, 0, 1],
      ['starred', 'pnl', 'starred'],
      ['x402', 'day', ''],
      [false, false, false],
    ]);
    const [clients, indexes] = await readAll([clientA, clientB, clientA]);
    expect(clients).toEqual([clientA, clientB, clientB, clientA]);
    expect(indexes).toEqual([1n, 1n, 2n, 1n]);
  });

  it('filters by tags with case and leaves revoked rows out unless asked', async () => {
    await giveGoldenRows();
    await chain.succeed(registry().write.revokeFeedback([0n, 1n], { account: clientA }));
    expect((await readAll([], 'starred'))[2]).toEqual([9977n, 40n]);
    expect((await readAll([], '', 'ms'))[2]).toEqual([560n]);
    expect((await readAll([], 'starred', 'ms'))[2]).toEqual([]);
    expect((await readAll([], 'Starred'))[2]).toEqual([]);
    const all = await readAll([], 'starred', '', true);
    expect(all[2]).toEqual([95n, 9977n, 40n]);
    expect(all[6]).toEqual([true, false, false]);
  });

  it('answers seven empty lists for an unknown agent', async () => {
    expect(await readAll([], '', '', true, 99n)).toEqual([[], [], [], [], [], [], []]);
  });
});

describe('reputation registry: responses', () => {
  function respond(account: Address, client: Address, index: bigint) {
    return chain.succeed(registry().write.appendResponse([0n, client, index, 'ipfs://r', HASH], { account }));
  }

  function count(client: Address, index: bigint, responders: readonly Address[] = []) {
    return registry().read.getResponseCount([0n, client, index, responders]);
  }

  it('checks index, URI and bounds in this order', async () => {
    await give(clientA);
    const append = (index: bigint, uri: string) =>
      revertOf(registry().simulate.appendResponse([0n, clientA, index, uri, zeroHash], { account: owner }));
    expect(await append(0n, '')).toBe('index must be > 0');
    expect(await append(2n, '')).toBe('Empty URI');
    expect(await append(2n, 'ipfs://r')).toBe('index out of bounds');
  });

  it('logs a response of anybody and counts with every wildcard', async () => {
    for (const client of [clientA, clientA, clientB]) await give(client);
    const receipt = await respond(owner, clientA, 1n);
    expect(parseEventLogs({ abi, logs: receipt.logs, eventName: 'ResponseAppended' })[0]?.args).toEqual({
      agentId: 0n,
      clientAddress: clientA,
      feedbackIndex: 1n,
      responder: owner,
      responseURI: 'ipfs://r',
      responseHash: HASH,
    });
    await respond(owner, clientA, 1n);
    await respond(buyer, clientA, 1n);
    await respond(owner, clientA, 2n);
    await respond(clientD, clientB, 1n);
    expect(await count(clientA, 1n)).toBe(3n);
    expect(await count(clientA, 1n, [owner])).toBe(2n);
    expect(await count(clientA, 0n)).toBe(4n);
    expect(await count(clientA, 0n, [buyer, clientD])).toBe(1n);
    expect(await count(zeroAddress, 0n)).toBe(5n);
    expect(await count(zeroAddress, 0n, [owner, clientD])).toBe(4n);
    expect(await count(clientA, 9n)).toBe(0n);
    expect(await registry().read.getResponseCount([99n, zeroAddress, 0n, []])).toBe(0n);
  });
});
