import { type Address, getContract, type Hex, parseEventLogs, type TransactionReceipt, toHex, zeroAddress } from 'viem';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { identityRegistryAbi as abi } from '../src/base/abi.ts';
import { artifacts, canonicalAddresses } from '../src/localnet/contracts.ts';
import {
  deploy,
  devAccount,
  eventNames,
  mirrorSignature,
  placeCanonical,
  revertOf,
  startChain,
  type TestChain,
} from './contracts-chain.ts';

const owner = devAccount(1).address;
const buyer = devAccount(2).address;
const approved = devAccount(3).address;
const operator = devAccount(4).address;
const stranger = devAccount(5).address;
const walletAccount = devAccount(6);
const wallet = walletAccount.address;
const URI = 'https://worker.example/agent.json';
const UNKNOWN = 'ERC721NonexistentToken(99)';

let chain: TestChain;
let snapshot: Hex;

beforeAll(async () => {
  chain = await startChain();
  await placeCanonical(chain, 'identity');
});
afterAll(() => chain.stop());
beforeEach(async () => {
  snapshot = await chain.client.snapshot();
});
afterEach(() => chain.client.revert({ id: snapshot }));

function registry(address: Address = canonicalAddresses.identity) {
  return getContract({ address, abi, client: chain.client });
}

/** Registers the first agent, id 0, for `owner`. */
async function registerFirst(): Promise<TransactionReceipt> {
  return chain.succeed(registry().write.register([URI], { account: owner }));
}

/** Agent 0 with one approved address and one operator. */
async function registerWithHelpers(): Promise<void> {
  await registerFirst();
  await chain.succeed(registry().write.approve([approved, 0n], { account: owner }));
  await chain.succeed(registry().write.setApprovalForAll([operator, true], { account: owner }));
}

function metadataSets(receipt: TransactionReceipt): [string, Hex][] {
  const logs = parseEventLogs({ abi, logs: receipt.logs, eventName: 'MetadataSet' });
  return logs.map(({ args }) => [args.metadataKey, args.metadataValue]);
}

describe('identity registry: deployment', () => {
  it('works at the canonical address with code copied from a deployment, and the artifact holds that code', async () => {
    const deployed = await deploy(chain, 'identity');
    expect(await chain.client.getCode({ address: deployed })).toBe(artifacts.identity.deployedBytecode);
    expect(await chain.client.getCode({ address: canonicalAddresses.identity })).toBe(
      artifacts.identity.deployedBytecode,
    );
    expect(await registry().read.getVersion()).toBe('2.0.0');
    expect(await registry().read.name()).toBe('AgentIdentity');
    expect(await registry().read.symbol()).toBe('AGENT');
  });
});

describe('identity registry: registration', () => {
  it('counts ids from 0', async () => {
    const first = await registerFirst();
    expect(parseEventLogs({ abi, logs: first.logs, eventName: 'Registered' })[0]?.args).toEqual({
      agentId: 0n,
      agentURI: URI,
      owner,
    });
    const second = await registry().simulate.register([URI], { account: buyer });
    expect(second.result).toBe(1n);
    expect(await registry().read.ownerOf([0n])).toBe(owner);
    expect(await registry().read.tokenURI([0n])).toBe(URI);
    expect(await registry().read.balanceOf([owner])).toBe(1n);
    expect(await revertOf(registry().read.ownerOf([1n]))).toBe('ERC721NonexistentToken(1)');
  });

  it('accepts an agent without a URI', async () => {
    const receipt = await chain.succeed(registry().write.register({ account: owner }));
    expect(eventNames(abi, receipt)).toEqual(['Transfer', 'Registered', 'MetadataSet']);
    expect(parseEventLogs({ abi, logs: receipt.logs, eventName: 'Registered' })[0]?.args.agentURI).toBe('');
    expect(await registry().read.tokenURI([0n])).toBe('');
  });

  it('logs Transfer, Registered, the wallet, then the entries in their order', async () => {
    const plain = await registerFirst();
    expect(eventNames(abi, plain)).toEqual(['Transfer', 'Registered', 'MetadataSet']);
    expect(parseEventLogs({ abi, logs: plain.logs, eventName: 'Transfer' })[0]?.args.from).toBe(zeroAddress);
    expect(metadataSets(plain)).toEqual([['agentWallet', owner.toLowerCase()]]);

    const metadata = [
      { metadataKey: 'gpu', metadataValue: toHex('A100') },
      { metadataKey: 'region', metadataValue: toHex('eu') },
    ];
    const withEntries = await chain.succeed(registry().write.register([URI, metadata], { account: owner }));
    expect(eventNames(abi, withEntries)).toEqual([
      'Transfer',
      'Registered',
      'MetadataSet',
      'MetadataSet',
      'MetadataSet',
    ]);
    expect(metadataSets(withEntries)).toEqual([
      ['agentWallet', owner.toLowerCase()],
      ['gpu', toHex('A100')],
      ['region', toHex('eu')],
    ]);
    expect(await registry().read.getMetadata([1n, 'gpu'])).toBe(toHex('A100'));
  });

  it('refuses the whole registration when an entry uses the reserved key', async () => {
    const metadata = [
      { metadataKey: 'gpu', metadataValue: toHex('A100') },
      { metadataKey: 'agentWallet', metadataValue: stranger },
    ];
    expect(await revertOf(registry().simulate.register([URI, metadata], { account: owner }))).toBe('reserved key');
    expect((await registry().simulate.register([URI], { account: owner })).result).toBe(0n);
  });
});

describe('identity registry: unknown agents', () => {
  it('reverts with ERC721NonexistentToken where the standard does', async () => {
    const { read, simulate } = registry();
    const account = owner;
    expect(await revertOf(read.ownerOf([99n]))).toBe(UNKNOWN);
    expect(await revertOf(read.tokenURI([99n]))).toBe(UNKNOWN);
    expect(await revertOf(read.getApproved([99n]))).toBe(UNKNOWN);
    expect(await revertOf(read.isAuthorizedOrOwner([owner, 99n]))).toBe(UNKNOWN);
    expect(await revertOf(simulate.setAgentURI([99n, URI], { account }))).toBe(UNKNOWN);
    expect(await revertOf(simulate.setMetadata([99n, 'agentWallet', '0x'], { account }))).toBe(UNKNOWN);
    expect(await revertOf(simulate.setAgentWallet([99n, zeroAddress, 0n, '0x'], { account }))).toBe(UNKNOWN);
    expect(await revertOf(simulate.unsetAgentWallet([99n], { account }))).toBe(UNKNOWN);
    expect(await revertOf(simulate.approve([approved, 99n], { account }))).toBe(UNKNOWN);
    expect(await revertOf(simulate.transferFrom([owner, buyer, 99n], { account }))).toBe(UNKNOWN);
  });

  it('answers empty, without a revert, for wallet and metadata', async () => {
    expect(await registry().read.getAgentWallet([99n])).toBe(zeroAddress);
    expect(await registry().read.getMetadata([99n, 'gpu'])).toBe('0x');
  });
});

describe('identity registry: who may write', () => {
  it.each([
    ['owner', owner],
    ['approved address', approved],
    ['operator', operator],
  ])('lets the %s change URI and metadata', async (_role, account) => {
    await registerWithHelpers();
    expect(await registry().read.isAuthorizedOrOwner([account, 0n])).toBe(true);
    const moved = await chain.succeed(registry().write.setAgentURI([0n, 'ipfs://new'], { account }));
    expect(parseEventLogs({ abi, logs: moved.logs, eventName: 'URIUpdated' })[0]?.args).toEqual({
      agentId: 0n,
      newURI: 'ipfs://new',
      updatedBy: account,
    });
    expect(await registry().read.tokenURI([0n])).toBe('ipfs://new');
    const set = await chain.succeed(registry().write.setMetadata([0n, 'gpu', '0x0102'], { account }));
    expect(metadataSets(set)).toEqual([['gpu', '0x0102']]);
    expect(await registry().read.getMetadata([0n, 'gpu'])).toBe('0x0102');
  });

  it('refuses a stranger, and the reserved key to everybody', async () => {
    await registerWithHelpers();
    const { read, simulate } = registry();
    expect(await read.isAuthorizedOrOwner([stranger, 0n])).toBe(false);
    const account = stranger;
    expect(await revertOf(simulate.setAgentURI([0n, URI], { account }))).toBe('Not authorized');
    expect(await revertOf(simulate.setMetadata([0n, 'gpu', '0x'], { account }))).toBe('Not authorized');
    expect(await revertOf(simulate.unsetAgentWallet([0n], { account }))).toBe('Not authorized');
    expect(await revertOf(simulate.setMetadata([0n, 'agentWallet', wallet], { account: owner }))).toBe('reserved key');
  });

  it('names the mistake in approvals and transfers', async () => {
    await registerWithHelpers();
    const { read, simulate } = registry();
    expect(await revertOf(simulate.approve([stranger, 0n], { account: stranger }))).toBe(
      `ERC721InvalidApprover(${stranger})`,
    );
    expect(await revertOf(simulate.approve([stranger, 0n], { account: approved }))).toBe(
      `ERC721InvalidApprover(${approved})`,
    );
    expect(await revertOf(simulate.setApprovalForAll([zeroAddress, true], { account: owner }))).toBe(
      `ERC721InvalidOperator(${zeroAddress})`,
    );
    expect(await revertOf(simulate.transferFrom([owner, stranger, 0n], { account: stranger }))).toBe(
      `ERC721InsufficientApproval(${stranger}, 0)`,
    );
    expect(await revertOf(simulate.transferFrom([owner, zeroAddress, 0n], { account: owner }))).toBe(
      `ERC721InvalidReceiver(${zeroAddress})`,
    );
    expect(await revertOf(simulate.transferFrom([buyer, stranger, 0n], { account: owner }))).toBe(
      `ERC721IncorrectOwner(${buyer}, 0, ${owner})`,
    );
    expect(await revertOf(read.balanceOf([zeroAddress]))).toBe(`ERC721InvalidOwner(${zeroAddress})`);
  });
});

describe('identity registry: transfer', () => {
  it.each([
    ['owner', owner],
    ['approved address', approved],
    ['operator', operator],
  ])('by the %s clears wallet and approval, the wallet before Transfer', async (_role, account) => {
    await registerWithHelpers();
    expect(await registry().read.getAgentWallet([0n])).toBe(owner);
    const receipt = await chain.succeed(registry().write.transferFrom([owner, buyer, 0n], { account }));
    expect(eventNames(abi, receipt)).toEqual(['MetadataSet', 'Transfer']);
    expect(metadataSets(receipt)).toEqual([['agentWallet', '0x']]);
    expect(await registry().read.getAgentWallet([0n])).toBe(zeroAddress);
    expect(await registry().read.getMetadata([0n, 'agentWallet'])).toBe('0x');
    expect(await registry().read.getApproved([0n])).toBe(zeroAddress);
    expect(await registry().read.ownerOf([0n])).toBe(buyer);
    expect(await registry().read.balanceOf([owner])).toBe(0n);
    expect(await registry().read.balanceOf([buyer])).toBe(1n);
    for (const former of [owner, approved, operator]) {
      expect(await registry().read.isAuthorizedOrOwner([former, 0n])).toBe(false);
    }
  });
});

describe('identity registry: agent wallet', () => {
  interface WalletSet {
    readonly agentId?: bigint;
    readonly newWallet?: Address;
    readonly owner?: Address;
    readonly deadline: bigint;
  }

  function sign(message: WalletSet, signer = walletAccount, verifyingContract: Address = canonicalAddresses.identity) {
    return signer.signTypedData({
      domain: { name: 'ERC8004IdentityRegistry', version: '1', chainId: 84532, verifyingContract },
      types: {
        AgentWalletSet: [
          { name: 'agentId', type: 'uint256' },
          { name: 'newWallet', type: 'address' },
          { name: 'owner', type: 'address' },
          { name: 'deadline', type: 'uint256' },
        ],
      },
      primaryType: 'AgentWalletSet',
      message: { agentId: 0n, newWallet: wallet, owner, ...message },
    });
  }

  async function nowUnix(): Promise<bigint> {
    return (await chain.client.getBlock()).timestamp;
  }

  function setWallet(deadline: bigint, signature: Hex, account: Address = owner) {
    return registry().simulate.setAgentWallet([0n, wallet, deadline, signature], { account });
  }

  it('accepts a signature of the new wallet, from owner, approved address and operator', async () => {
    await registerWithHelpers();
    const deadline = (await nowUnix()) + 200n;
    const signature = await sign({ deadline });
    for (const account of [approved, operator]) await setWallet(deadline, signature, account);
    const args = [0n, wallet, deadline, signature] as const;
    const receipt = await chain.succeed(registry().write.setAgentWallet(args, { account: owner }));
    expect(metadataSets(receipt)).toEqual([['agentWallet', wallet.toLowerCase()]]);
    expect(await registry().read.getAgentWallet([0n])).toBe(wallet);
    expect(await registry().read.getMetadata([0n, 'agentWallet'])).toBe(wallet.toLowerCase());

    const unset = await chain.succeed(registry().write.unsetAgentWallet([0n], { account: owner }));
    expect(metadataSets(unset)).toEqual([['agentWallet', '0x']]);
    expect(await registry().read.getAgentWallet([0n])).toBe(zeroAddress);
  });

  it('accepts deadlines from now to five minutes ahead and nothing outside', async () => {
    await registerFirst();
    const now = await nowUnix();
    for (const deadline of [now, now + 300n]) await setWallet(deadline, await sign({ deadline }));
    const early = now - 1n;
    expect(await revertOf(setWallet(early, await sign({ deadline: early })))).toBe('expired');
    const late = now + 301n;
    expect(await revertOf(setWallet(late, await sign({ deadline: late })))).toBe('deadline too far');
  });

  it('checks authority, wallet, deadline and signature in this order', async () => {
    await registerFirst();
    const now = await nowUnix();
    const set = (newWallet: Address, deadline: bigint, account: Address) =>
      revertOf(registry().simulate.setAgentWallet([0n, newWallet, deadline, '0x'], { account }));
    expect(await set(zeroAddress, 0n, stranger)).toBe('Not authorized');
    expect(await set(zeroAddress, 0n, owner)).toBe('bad wallet');
    expect(await set(wallet, 0n, owner)).toBe('expired');
    expect(await set(wallet, now + 10_000n, owner)).toBe('deadline too far');
    expect(await set(wallet, now + 100n, owner)).toBe('invalid wallet sig');
  });

  it('refuses signatures of another signer, message, registry or form', async () => {
    await registerFirst();
    const deadline = (await nowUnix()) + 100n;
    const good = await sign({ deadline });
    await setWallet(deadline, good);
    const bad = [
      await sign({ deadline }, devAccount(5)),
      await sign({ deadline, agentId: 1n }),
      await sign({ deadline, owner: buyer }),
      await sign({ deadline: deadline + 1n }),
      await sign({ deadline }, walletAccount, canonicalAddresses.reputation),
      mirrorSignature(good),
      `${good.slice(0, 130)}00`,
      good.slice(0, 130),
    ];
    for (const signature of bad) {
      expect(await revertOf(setWallet(deadline, `0x${signature.slice(2)}`))).toBe('invalid wallet sig');
    }
  });

  it('a signature for the old owner is void after a transfer', async () => {
    await registerFirst();
    const deadline = (await nowUnix()) + 200n;
    const signature = await sign({ deadline });
    await chain.succeed(registry().write.transferFrom([owner, buyer, 0n], { account: owner }));
    expect(await revertOf(setWallet(deadline, signature, buyer))).toBe('invalid wallet sig');
    await setWallet(deadline, await sign({ deadline, owner: buyer }), buyer);
  });
});
