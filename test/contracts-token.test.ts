import {
  type Address,
  getContract,
  type Hex,
  hashTypedData,
  keccak256,
  parseSignature,
  toHex,
  zeroAddress,
} from 'viem';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { usdcAbi } from '../src/base/abi.ts';
import { artifacts, canonicalAddresses, usdcMintAbi } from '../src/localnet/contracts.ts';
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

const abi = [...usdcAbi, ...usdcMintAbi] as const;
const payerAccount = devAccount(1);
const payer = payerAccount.address;
const relayer = devAccount(2).address;
const payee: Address = '0x209693Bc6afc0C5328bA36FaF03C514EF312287C';

// Known-answer vector B: the fields of the vector that the x402 specification publishes, signed by anvil's account 1.
const VECTOR = {
  value: 10_000n,
  validAfter: 1_740_672_089n,
  validBefore: 1_740_672_154n,
  nonce: '0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480',
} as const;
const VECTOR_B_DIGEST = '0x7b608a4b969db6725f5373740b7811350cd1148db1b903276958fa2a718326ba';
const VECTOR_B_SIGNATURE =
  '0xeae36c169c193ec4791b48a3d469bd0ff9f9b2edef5c1349bedcd0c501c3cff2006d0788285d4a884321fabe5a8428887c3581a82f1b32eeb2ea1011413746901c';
// Vector A: the published one itself; nobody here knows its key.
const VECTOR_A_PAYER = '0x857b06519E91e3A54538791bDbb0E22373e36b66';
const VECTOR_A_SIGNATURE =
  '0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e8986a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c';
const DOMAIN_SEPARATOR = '0x71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818';
const INSIDE_WINDOW = 1_740_672_100n;

const domain = { name: 'USDC', version: '2', chainId: 84532, verifyingContract: canonicalAddresses.token } as const;
const transferTypes = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
} as const;
const cancelTypes = {
  CancelAuthorization: [
    { name: 'authorizer', type: 'address' },
    { name: 'nonce', type: 'bytes32' },
  ],
} as const;

interface Authorization {
  readonly from: Address;
  readonly to: Address;
  readonly value: bigint;
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  readonly nonce: Hex;
}

const vectorB: Authorization = { ...VECTOR, from: payer, to: payee };
const live: Authorization = { ...vectorB, validAfter: 0n, nonce: keccak256(toHex('live')) };

let chain: TestChain;
let snapshot: Hex;

beforeAll(async () => {
  // The chain starts before the vectors' window, which lies in the past.
  chain = await startChain(1_740_672_000);
  await placeCanonical(chain, 'token');
  for (const account of [payer, VECTOR_A_PAYER] as const) {
    await chain.succeed(token().write.mint([account, 1_000_000n], { account: relayer }));
  }
});
afterAll(() => chain.stop());
beforeEach(async () => {
  snapshot = await chain.client.snapshot();
  await chain.moveTo(INSIDE_WINDOW);
});
afterEach(() => chain.client.revert({ id: snapshot }));

function token() {
  return getContract({ address: canonicalAddresses.token, abi, client: chain.client });
}

function sign(message: Authorization, signer = payerAccount) {
  return signer.signTypedData({ domain, types: transferTypes, primaryType: 'TransferWithAuthorization', message });
}

function signCancel(nonce: Hex, signer = payerAccount) {
  const message = { authorizer: payer, nonce };
  return signer.signTypedData({ domain, types: cancelTypes, primaryType: 'CancelAuthorization', message });
}

function fields({ from, to, value, validAfter, validBefore, nonce }: Authorization) {
  return [from, to, value, validAfter, validBefore, nonce] as const;
}

function split(signature: Hex) {
  const { r, s, yParity } = parseSignature(signature);
  return [27 + yParity, r, s] as const;
}

/** Sends the authorization through the `bytes` overload, from an account that is not the payer. */
function settle(authorization: Authorization, signature: Hex) {
  const args = [...fields(authorization), signature] as const;
  return chain.succeed(token().write.transferWithAuthorization(args, { account: relayer }));
}

/** The revert of the `bytes` overload, after checking that the `v, r, s` overload agrees where it can say the same. */
async function revertOfSettling(authorization: Authorization, signature: Hex): Promise<string> {
  const args = [...fields(authorization), signature] as const;
  const reason = await revertOf(token().simulate.transferWithAuthorization(args, { account: relayer }));
  if (signature.length === 132) {
    const r: Hex = `0x${signature.slice(2, 66)}`;
    const s: Hex = `0x${signature.slice(66, 130)}`;
    const v = Number.parseInt(signature.slice(130), 16);
    const splitArgs = [...fields(authorization), v, r, s] as const;
    expect(await revertOf(token().simulate.transferWithAuthorization(splitArgs, { account: relayer }))).toBe(reason);
  }
  return reason;
}

function withV(signature: Hex, v: number): Hex {
  return `0x${signature.slice(2, 130)}${v.toString(16).padStart(2, '0')}`;
}

describe('token: deployment', () => {
  it('works at the canonical address with code copied from a deployment, and the artifact holds that code', async () => {
    const deployed = await deploy(chain, 'token');
    expect(await chain.client.getCode({ address: deployed })).toBe(artifacts.token.deployedBytecode);
    const { read } = token();
    expect(await read.name()).toBe('USDC');
    expect(await read.symbol()).toBe('USDC');
    expect(await read.version()).toBe('2');
    expect(await read.decimals()).toBe(6);
    expect(await read.totalSupply()).toBe(2_000_000n);
  });

  it('has the published domain separator and type hashes, and another domain at another address', async () => {
    const { read } = token();
    expect(await read.DOMAIN_SEPARATOR()).toBe(DOMAIN_SEPARATOR);
    expect(await read.TRANSFER_WITH_AUTHORIZATION_TYPEHASH()).toBe(
      '0x7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267',
    );
    expect(await read.CANCEL_AUTHORIZATION_TYPEHASH()).toBe(
      '0x158b0a9edf7a828aad02f63cd515c68ef2f50ba807396f6d12842833a1597429',
    );
    const elsewhere = getContract({ address: await deploy(chain, 'token'), abi, client: chain.client });
    expect(await elsewhere.read.DOMAIN_SEPARATOR()).not.toBe(DOMAIN_SEPARATOR);
  });
});

describe('token: ERC-20', () => {
  it('transfers, approves and spends an allowance', async () => {
    const paid = await chain.succeed(token().write.transfer([payee, 100n], { account: payer }));
    expect(eventNames(abi, paid)).toEqual(['Transfer']);
    const allowed = await chain.succeed(token().write.approve([relayer, 60n], { account: payer }));
    expect(eventNames(abi, allowed)).toEqual(['Approval']);
    await chain.succeed(token().write.transferFrom([payer, payee, 50n], { account: relayer }));
    expect(await token().read.balanceOf([payee])).toBe(150n);
    expect(await token().read.balanceOf([payer])).toBe(999_850n);
    expect(await token().read.allowance([payer, relayer])).toBe(10n);
  });

  it('refuses what exceeds balance or allowance, and the zero address', async () => {
    const { simulate } = token();
    expect(await revertOf(simulate.transfer([payee, 1_000_001n], { account: payer }))).toBe(
      'ERC20: transfer amount exceeds balance',
    );
    expect(await revertOf(simulate.transferFrom([payer, payee, 1n], { account: relayer }))).toBe(
      'ERC20: transfer amount exceeds allowance',
    );
    expect(await revertOf(simulate.transfer([zeroAddress, 1n], { account: payer }))).toBe(
      'ERC20: transfer to the zero address',
    );
    expect(await revertOf(simulate.approve([zeroAddress, 1n], { account: payer }))).toBe(
      'ERC20: approve to the zero address',
    );
    expect(await revertOf(simulate.mint([zeroAddress, 1n], { account: payer }))).toBe(
      'ERC20: mint to the zero address',
    );
  });
});

describe('token: transferWithAuthorization', () => {
  it('known-answer vector B: digest and signature are the published ones and settle', async () => {
    const digest = hashTypedData({
      domain,
      types: transferTypes,
      primaryType: 'TransferWithAuthorization',
      message: { ...vectorB },
    });
    expect(digest).toBe(VECTOR_B_DIGEST);
    expect(await sign(vectorB)).toBe(VECTOR_B_SIGNATURE);
    const receipt = await settle(vectorB, VECTOR_B_SIGNATURE);
    expect(eventNames(abi, receipt)).toEqual(['AuthorizationUsed', 'Transfer']);
    expect(await token().read.balanceOf([payee])).toBe(10_000n);
    expect(await token().read.balanceOf([payer])).toBe(990_000n);
    expect(await token().read.authorizationState([payer, VECTOR.nonce])).toBe(true);
  });

  it('known-answer vector A, signed by a key we do not have, settles as well', async () => {
    await settle({ ...vectorB, from: VECTOR_A_PAYER }, VECTOR_A_SIGNATURE);
    expect(await token().read.balanceOf([VECTOR_A_PAYER])).toBe(990_000n);
  });

  it('settles through the v, r, s overload', async () => {
    const args = [...fields(live), ...split(await sign(live))] as const;
    const receipt = await chain.succeed(token().write.transferWithAuthorization(args, { account: relayer }));
    expect(eventNames(abi, receipt)).toEqual(['AuthorizationUsed', 'Transfer']);
    expect(await token().read.balanceOf([payee])).toBe(10_000n);
  });

  it('settles once: a replay reverts through both overloads', async () => {
    const signature = await sign(live);
    await settle(live, signature);
    expect(await revertOfSettling(live, signature)).toBe('FiatTokenV2: authorization is used or canceled');
    expect(await token().read.balanceOf([payee])).toBe(10_000n);
  });

  it('is valid strictly between its two times', async () => {
    const late = { ...live, validAfter: INSIDE_WINDOW };
    expect(await revertOfSettling(late, await sign(late))).toBe('FiatTokenV2: authorization is not yet valid');
    const over = { ...live, validBefore: INSIDE_WINDOW };
    expect(await revertOfSettling(over, await sign(over))).toBe('FiatTokenV2: authorization is expired');
    await chain.moveTo(VECTOR.validBefore);
    expect(await revertOfSettling(vectorB, VECTOR_B_SIGNATURE)).toBe('FiatTokenV2: authorization is expired');
    expect(await token().read.authorizationState([payer, VECTOR.nonce])).toBe(false);
  });

  it('is valid one second inside either end', async () => {
    const narrow = { ...live, validAfter: INSIDE_WINDOW - 1n, validBefore: INSIDE_WINDOW + 1n };
    const args = [...fields(narrow), await sign(narrow)] as const;
    await token().simulate.transferWithAuthorization(args, { account: relayer });
  });

  it('refuses v other than 27 and 28, and the mirrored high s', async () => {
    const signature = await sign(live);
    const { yParity } = parseSignature(signature);
    for (const v of [yParity, 0, 1, 26, 29]) {
      expect(await revertOfSettling(live, withV(signature, v))).toBe("ECRecover: invalid signature 'v' value");
    }
    expect(await revertOfSettling(live, mirrorSignature(signature))).toBe("ECRecover: invalid signature 's' value");
  });

  it('refuses another signer, a changed field, another domain and a malformed signature', async () => {
    const signature = await sign(live);
    const wrong = 'FiatTokenV2: invalid signature';
    expect(await revertOfSettling(live, await sign(live, devAccount(3)))).toBe(wrong);
    for (const change of [{ value: 10_001n }, { to: relayer }, { nonce: VECTOR.nonce }, { validBefore: 2n ** 40n }]) {
      expect(await revertOfSettling({ ...live, ...change }, signature)).toBe(wrong);
    }
    const mainnetName = await payerAccount.signTypedData({
      domain: { ...domain, name: 'USD Coin' },
      types: transferTypes,
      primaryType: 'TransferWithAuthorization',
      message: { ...live },
    });
    expect(await revertOfSettling(live, mainnetName)).toBe(wrong);
    expect(await revertOfSettling(live, `0x${signature.slice(2, 130)}`)).toBe('ECRecover: invalid signature length');
    expect(await revertOfSettling(live, `0x${'00'.repeat(64)}1b`)).toBe('ECRecover: invalid signature');
  });

  it('refuses more than the balance and leaves the nonce unused', async () => {
    const tooMuch = { ...live, value: 1_000_001n };
    expect(await revertOfSettling(tooMuch, await sign(tooMuch))).toBe('ERC20: transfer amount exceeds balance');
    expect(await token().read.authorizationState([payer, live.nonce])).toBe(false);
  });
});

describe('token: cancelAuthorization', () => {
  it.each(['bytes', 'v, r, s'])('kills a live authorization through the %s overload', async (overload) => {
    const cancellation = await signCancel(live.nonce);
    const options = { account: relayer };
    const hash =
      overload === 'bytes'
        ? token().write.cancelAuthorization([payer, live.nonce, cancellation], options)
        : token().write.cancelAuthorization([payer, live.nonce, ...split(cancellation)], options);
    expect(eventNames(abi, await chain.succeed(hash))).toEqual(['AuthorizationCanceled']);
    expect(await token().read.authorizationState([payer, live.nonce])).toBe(true);
    const used = 'FiatTokenV2: authorization is used or canceled';
    expect(await revertOfSettling(live, await sign(live))).toBe(used);
    expect(await revertOf(token().simulate.cancelAuthorization([payer, live.nonce, cancellation], options))).toBe(used);
  });

  it('refuses a cancellation that the payer did not sign or that comes after settlement', async () => {
    const options = { account: relayer };
    const foreign = await signCancel(live.nonce, devAccount(3));
    expect(await revertOf(token().simulate.cancelAuthorization([payer, live.nonce, foreign], options))).toBe(
      'FiatTokenV2: invalid signature',
    );
    await settle(live, await sign(live));
    const own = await signCancel(live.nonce);
    expect(await revertOf(token().simulate.cancelAuthorization([payer, live.nonce, own], options))).toBe(
      'FiatTokenV2: authorization is used or canceled',
    );
  });
});
