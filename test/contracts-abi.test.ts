import { type Abi, type AbiEvent, type AbiParameter, toEventSelector, toFunctionSelector } from 'viem';
import { describe, expect, it } from 'vitest';
import { identityRegistryAbi, reputationRegistryAbi, usdcAbi } from '../src/base/abi.ts';
import { artifacts, usdcMintAbi } from '../src/localnet/contracts.ts';

// Selectors and topics of the reference contracts, as published; not computed from our own constants.
const IDENTITY_SELECTORS = {
  'register()': '0x1aa3a008',
  'register(string)': '0xf2c298be',
  'register(string,(string,bytes)[])': '0x8ea42286',
  'setAgentURI(uint256,string)': '0x0af28bd3',
  'tokenURI(uint256)': '0xc87b56dd',
  'ownerOf(uint256)': '0x6352211e',
  'balanceOf(address)': '0x70a08231',
  'getMetadata(uint256,string)': '0xcb4799f2',
  'setMetadata(uint256,string,bytes)': '0x466648da',
  'getAgentWallet(uint256)': '0x00339509',
  'setAgentWallet(uint256,address,uint256,bytes)': '0x2d1ef5ae',
  'unsetAgentWallet(uint256)': '0x3fddcf19',
  'isAuthorizedOrOwner(address,uint256)': '0xd95e72be',
  'approve(address,uint256)': '0x095ea7b3',
  'setApprovalForAll(address,bool)': '0xa22cb465',
  'transferFrom(address,address,uint256)': '0x23b872dd',
  'getVersion()': '0x0d8e6e2c',
  'ERC721NonexistentToken(uint256)': '0x7e273289',
  'ERC721InsufficientApproval(address,uint256)': '0x177e802f',
};
const REPUTATION_SELECTORS = {
  'giveFeedback(uint256,int128,uint8,string,string,string,string,bytes32)': '0x3c036a7e',
  'revokeFeedback(uint256,uint64)': '0x4ab3ca99',
  'appendResponse(uint256,address,uint64,string,bytes32)': '0xc2349ab2',
  'getSummary(uint256,address[],string,string)': '0x81bbba58',
  'readFeedback(uint256,address,uint64)': '0x232b0810',
  'readAllFeedback(uint256,address[],string,string,bool)': '0xd9d84224',
  'getClients(uint256)': '0x42dd519c',
  'getLastIndex(uint256,address)': '0xf2d81759',
  'getResponseCount(uint256,address,uint64,address[])': '0x6e04cacd',
  'getIdentityRegistry()': '0xbc4d861b',
  'getVersion()': '0x0d8e6e2c',
  'ERC721NonexistentToken(uint256)': '0x7e273289',
};
const TOKEN_SELECTORS = {
  'transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)': '0xe3ee160e',
  'transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)': '0xcf092995',
  'cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)': '0x5a049a70',
  'cancelAuthorization(address,bytes32,bytes)': '0xb7b72899',
  'authorizationState(address,bytes32)': '0xe94a0102',
};
const IDENTITY_TOPICS = {
  Registered: '0xca52e62c367d81bb2e328eb795f7c7ba24afb478408a26c0e201d155c449bc4a',
  URIUpdated: '0x3a2c7fffc2cba7582c690e3b82c453ea02a308326a98a3ad7576c606336409fb',
  MetadataSet: '0x2c149ed548c6d2993cd73efe187df6eccabe4538091b33adbd25fafdb8a1468b',
  Transfer: '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef',
};
const REPUTATION_TOPICS = {
  NewFeedback: '0x6a4a61743519c9d648a14e6493f47dbe3ff1aa29e7785c96c8326a205e58febc',
  FeedbackRevoked: '0x25156fd3288212246d8b008d5921fde376c71ed14ac2e072a506eb06fde6d09d',
  ResponseAppended: '0xb1c6be0b5b8aef6539e2fac0fd131a2faa7b49edf8e505b5eb0ad487d56051d4',
};
const TOKEN_TOPICS = {
  Transfer: '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef',
  AuthorizationUsed: '0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5',
  AuthorizationCanceled: '0x1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81',
};

function formatType(parameter: AbiParameter): string {
  if (!('components' in parameter)) return parameter.type;
  return parameter.type.replace('tuple', `(${parameter.components.map(formatType).join(',')})`);
}

function formatSignature(name: string, inputs: readonly AbiParameter[]): string {
  return `${name}(${inputs.map(formatType).join(',')})`;
}

function selectorsOf(abi: Abi): Record<string, string> {
  const selectors: Record<string, string> = {};
  for (const item of abi) {
    if (item.type !== 'function' && item.type !== 'error') continue;
    const signature = formatSignature(item.name, item.inputs);
    selectors[signature] = toFunctionSelector(signature);
  }
  return selectors;
}

function topicsOf(abi: Abi): Record<string, string> {
  const topics: Record<string, string> = {};
  for (const item of abi) if (item.type === 'event') topics[item.name] = toEventSelector(item);
  return topics;
}

function describeParameter(parameter: AbiParameter | AbiEvent['inputs'][number]): unknown {
  return {
    name: parameter.name ?? '',
    type: formatType(parameter),
    indexed: 'indexed' in parameter && parameter.indexed === true,
    components: 'components' in parameter ? parameter.components.map(describeParameter) : [],
  };
}

/** Everything a caller can notice, without order; `pure` and `view` are the same to a caller. */
function describeAbi(abi: Abi): string[] {
  const items: string[] = [];
  for (const item of abi) {
    if (item.type !== 'function' && item.type !== 'event' && item.type !== 'error') continue;
    const isFunction = item.type === 'function';
    items.push(
      JSON.stringify({
        type: item.type,
        name: item.name,
        inputs: item.inputs.map(describeParameter),
        outputs: isFunction ? item.outputs.map(describeParameter) : [],
        isRead: isFunction && (item.stateMutability === 'view' || item.stateMutability === 'pure'),
      }),
    );
  }
  return items.sort();
}

describe('ABI constants', () => {
  it.each([
    ['identity', identityRegistryAbi, IDENTITY_SELECTORS, IDENTITY_TOPICS],
    ['reputation', reputationRegistryAbi, REPUTATION_SELECTORS, REPUTATION_TOPICS],
    ['token', usdcAbi, TOKEN_SELECTORS, TOKEN_TOPICS],
  ])('%s: selectors and topics are the published ones', (_name, abi, selectors, topics) => {
    expect(selectorsOf(abi)).toMatchObject(selectors);
    expect(topicsOf(abi)).toMatchObject(topics);
  });

  it.each([
    ['identity', identityRegistryAbi, artifacts.identity.abi],
    ['reputation', reputationRegistryAbi, artifacts.reputation.abi],
    ['token', [...usdcAbi, ...usdcMintAbi], artifacts.token.abi],
  ])(
    '%s: the constant and the compiled contract have the same items, down to parameter names',
    (_name, abi, compiled) => {
      expect(describeAbi(abi)).toEqual(describeAbi(compiled));
    },
  );

  it('the runtime code of every artifact is below the limit of a contract (EIP-170: 24,576 bytes)', () => {
    for (const { deployedBytecode } of Object.values(artifacts)) {
      expect((deployedBytecode.length - 2) / 2).toBeLessThanOrEqual(24_576);
    }
  });
});
