import { createServer, type Server } from 'node:http';
import { encodeFunctionData, type Hex, keccak256, parseAbi, zeroHash } from 'viem';
import { generatePrivateKey, privateKeyToAddress } from 'viem/accounts';
import { reputationRegistryAbi, usdcAbi } from '../src/base/abi.ts';
import { HostGate } from '../src/discovery/host-gate.ts';
import type { ReputationDeps, Subject } from '../src/discovery/reputation.ts';
import { createLocalClient, type LocalClient, MULTICALL3_ADDRESS } from '../src/localnet/chain.ts';
import { canonicalAddresses, usdcMintAbi } from '../src/localnet/contracts.ts';
import { type Localnet, startLocalnet } from '../src/localnet/localnet.ts';
import { HttpClient } from '../src/net/http.ts';
import { createRpcNode, type RpcNode } from '../src/net/rpc.ts';

const CHAIN_ID = 84532;
const REGISTRY = canonicalAddresses.identity;
const MULTICALL = parseAbi([
  'struct Call { address target; bytes callData; }',
  'function aggregate(Call[] calls) payable returns (uint256 blockNumber, bytes[] returnData)',
]);

export interface Rating {
  readonly value?: bigint;
  readonly decimals?: number;
  readonly tags?: readonly [string, string];
  readonly uri?: string;
  readonly hash?: Hex;
}

/** What a feedback file says; a test changes what it wants to be wrong. */
export interface FileParts {
  readonly agentId: bigint;
  readonly client: Hex;
  readonly payee: Hex;
  readonly tx: Hex;
  readonly changes?: Readonly<Record<string, unknown>>;
  readonly proof?: Readonly<Record<string, unknown>>;
}

/** A real chain with both registries and the token, and strangers who rate agents there. */
export class ReputationLab {
  readonly http: HttpClient;
  readonly rpc: RpcNode;
  /** Bodies that the loopback file server answers with, by path. */
  readonly files = new Map<string, Uint8Array>();
  filesUrl = '';
  #server: Server;

  private constructor(
    readonly network: Localnet,
    readonly client: LocalClient,
    readonly accounts: readonly Hex[],
  ) {
    this.rpc = createRpcNode(network.rpcUrl);
    this.http = new HttpClient({ allowHttpHosts: ['127.0.0.1'], userAgent: 'test' });
    this.#server = createServer((request, response) => {
      const body = this.files.get(request.url ?? '');
      response.writeHead(body ? 200 : 404).end(body);
    });
  }

  static async open(): Promise<ReputationLab> {
    const network = await startLocalnet({ workers: 0 });
    const client = createLocalClient(network.rpcUrl);
    const lab = new ReputationLab(network, client, await client.getAddresses());
    await new Promise<void>((resolve) => lab.#server.listen(0, '127.0.0.1', resolve));
    const address = lab.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the file server has no port');
    lab.filesUrl = `http://127.0.0.1:${address.port}`;
    return lab;
  }

  /** What the reading is given; nothing of it is feigned. */
  deps(changes: Partial<ReputationDeps> = {}): ReputationDeps {
    return {
      http: this.http,
      gate: new HostGate(),
      ipfsGateways: [],
      openRpc: async (chainId) => (chainId === CHAIN_ID ? this.rpc : null),
      trustedReviewers: [],
      ...changes,
    };
  }

  subject(agentId: bigint, more: Partial<Subject> = {}): Subject {
    const agent = { chainId: CHAIN_ID, registry: REGISTRY.toLowerCase(), agentId: agentId.toString() };
    return { agent, payees: [], ours: [], ...more };
  }

  /** A new agent and its owner, who is one of the node's accounts. */
  async register(): Promise<{ readonly agentId: bigint; readonly owner: Hex }> {
    return this.network.registerAgent('data:,', 0);
  }

  /** An address that the node signs for from now on. */
  async stranger(): Promise<Hex> {
    const address = privateKeyToAddress(generatePrivateKey());
    await this.client.impersonateAccount({ address });
    await this.client.setBalance({ address, value: 10n ** 20n });
    return address;
  }

  async mined(hash: Hex): Promise<Hex> {
    const receipt = await this.client.waitForTransactionReceipt({ hash });
    if (receipt.status !== 'success') throw new Error(`${hash} reverted`);
    return hash;
  }

  encode(
    agentId: bigint,
    { value = 100n, decimals = 0, tags = ['starred', ''], uri = '', hash = zeroHash }: Rating,
  ): Hex {
    return encodeFunctionData({
      abi: reputationRegistryAbi,
      functionName: 'giveFeedback',
      args: [agentId, value, decimals, tags[0], tags[1], '', uri, hash],
    });
  }

  async rate(account: Hex, agentId: bigint, rating: Rating = {}): Promise<void> {
    const data = this.encode(agentId, rating);
    await this.mined(await this.client.sendTransaction({ account, to: canonicalAddresses.reputation, data }));
  }

  async revoke(account: Hex, agentId: bigint, index: bigint): Promise<void> {
    const args = [agentId, index] as const;
    const data = encodeFunctionData({ abi: reputationRegistryAbi, functionName: 'revokeFeedback', args });
    await this.mined(await this.client.sendTransaction({ account, to: canonicalAddresses.reputation, data }));
  }

  /** Many ratings of one client, which is a contract that anybody can call. */
  async rateInBulk(agentId: bigint, count: number, rating: Rating): Promise<Hex> {
    const call = { target: canonicalAddresses.reputation, callData: this.encode(agentId, rating) };
    const [account = '0x'] = this.accounts;
    const batch = 200;
    for (let done = 0; done < count; done += batch) {
      const args = [Array.from({ length: Math.min(batch, count - done) }, () => call)] as const;
      const data = encodeFunctionData({ abi: MULTICALL, functionName: 'aggregate', args });
      const hash = await this.client.sendTransaction({ account, to: MULTICALL3_ADDRESS, data, gas: 29_000_000n });
      await this.mined(hash);
    }
    return MULTICALL3_ADDRESS;
  }

  /** Pays in the pinned token (or in another one). */
  async pay(from: Hex, to: Hex, value: bigint, token: Hex = canonicalAddresses.token): Promise<Hex> {
    const [account = '0x'] = this.accounts;
    const mint = { address: token, abi: usdcMintAbi, functionName: 'mint', args: [from, value], account } as const;
    await this.mined(await this.client.writeContract(mint));
    const transfer = { address: token, abi: usdcAbi, functionName: 'transfer', args: [to, value] } as const;
    return this.mined(await this.client.writeContract({ ...transfer, account: from }));
  }

  file({ agentId, client, payee, tx, changes = {}, proof = {} }: FileParts): Uint8Array {
    const document = {
      agentRegistry: `eip155:${CHAIN_ID}:${REGISTRY}`,
      agentId: Number(agentId),
      clientAddress: `eip155:${CHAIN_ID}:${client}`,
      createdAt: '2026-09-01T00:00:00Z',
      value: 100,
      valueDecimals: 0,
      proofOfPayment: { fromAddress: client, toAddress: payee, chainId: String(CHAIN_ID), txHash: tx, ...proof },
      ...changes,
    };
    return new TextEncoder().encode(JSON.stringify(document));
  }

  /** Rates with a file as `data:` URI. */
  rateWithFile(account: Hex, agentId: bigint, bytes: Uint8Array, rating: Rating = {}): Promise<void> {
    const uri = `data:application/json;base64,${Buffer.from(bytes).toString('base64')}`;
    return this.rate(account, agentId, { uri, hash: keccak256(bytes), ...rating });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.http.close();
    await this.network.stop();
  }
}
