import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Hex, TypedData } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import * as z from 'zod';

/** Order of secp256k1. */
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

const TypedBody = z.object({
  types: z.custom<TypedData>((value) => typeof value === 'object' && value !== null && 'EIP712Domain' in value),
  primaryType: z.string(),
  domain: z.object({
    name: z.string(),
    version: z.string(),
    chainId: z.number(),
    verifyingContract: z.custom<Hex>((value) => typeof value === 'string' && value.startsWith('0x')),
  }),
  message: z.record(z.string(), z.string()),
});

const MessageBody = z.strictObject({ message: z.string() });

const isHex = (value: unknown): value is Hex => typeof value === 'string' && value.startsWith('0x');
const Decimal = z.string().regex(/^\d+$/).transform(BigInt);
/** The canonical form of the fields: decimal texts (remote-signer.md section 2). */
const TransactionBody = z.strictObject({
  chain_id: Decimal,
  to: z.custom<Hex>(isHex),
  nonce: Decimal,
  gas_limit: Decimal,
  max_fee_per_gas: Decimal,
  max_priority_fee_per_gas: Decimal,
  value: Decimal,
  data: z.custom<Hex>(isHex),
});

/** One request as it arrived. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: string;
}

/** What a signing request is answered with: a body with status 200 unless another is named, or a broken connection. */
export type SignAnswer =
  | { readonly status?: number; readonly body: unknown; readonly headers?: Readonly<Record<string, string>> }
  | 'reset';

/** How a signature is spoiled before it is handed out. */
export const SPOILERS = {
  lowV: (signature: string) =>
    `${signature.slice(0, 130)}${(Number.parseInt(signature.slice(130), 16) - 27).toString(16).padStart(2, '0')}`,
  highS: (signature: string) => {
    const s = ORDER - BigInt(`0x${signature.slice(66, 130)}`);
    const v = signature.endsWith('1b') ? '1c' : '1b';
    return `${signature.slice(0, 66)}${s.toString(16).padStart(64, '0')}${v}`;
  },
  compact: (signature: string) => signature.slice(0, 130),
  bare: (signature: string) => signature.slice(2),
  spaced: (signature: string) => ` ${signature}`,
  unknownV: (signature: string) => `${signature.slice(0, 130)}25`,
} as const;

/** A signing service with the paths of remote-signer.md; every answer can be decided by a test. */
export class SignerStandIn {
  readonly log: Asked[] = [];
  readonly address: Hex;
  /** The token that it wants; null: it accepts every caller. */
  token: string | null = null;
  /** Status for a wrong token. */
  unauthorizedStatus = 401;
  /** What the list of keys is answered with. */
  keys: SignAnswer;
  /** Decides the answer to a signing request from the good signature. */
  onSign: (signature: string, request: Asked) => SignAnswer | Promise<SignAnswer> = (signature) => ({
    body: { signature },
  });
  /** Decides the answer to a transaction from the good one. */
  onTransaction: (signed: Hex, request: Asked) => SignAnswer | Promise<SignAnswer> = (signed) => ({
    body: { signed_transaction: signed },
  });
  url = '';
  readonly #account: ReturnType<typeof privateKeyToAccount>;
  readonly #server: Server;

  private constructor(key: Hex) {
    this.#account = privateKeyToAccount(key);
    this.address = this.#account.address;
    this.keys = { body: { keys: [this.address] } };
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
  }

  /** @param key the key that it holds; absent: a new one */
  static async start(key: Hex = generatePrivateKey()): Promise<SignerStandIn> {
    const signer = new SignerStandIn(key);
    await new Promise<void>((resolve) => signer.#server.listen(0, '127.0.0.1', resolve));
    const address = signer.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the signer has no port');
    signer.url = `http://127.0.0.1:${address.port}`;
    return signer;
  }

  /** Bodies of the signing requests. */
  get signBodies(): string[] {
    return this.log.filter(({ path }) => path.endsWith('/typed-data')).map(({ body }) => body);
  }

  /** Nonces that it was asked to sign for, each once. */
  get nonces(): string[] {
    return [...new Set(this.signBodies.map((body) => TypedBody.parse(JSON.parse(body)).message.nonce ?? ''))];
  }

  /** Texts that it was asked to sign. */
  get texts(): string[] {
    return this.log.flatMap(({ path, body }) =>
      path.endsWith('/message') ? [MessageBody.parse(JSON.parse(body)).message] : [],
    );
  }

  /** What its key signs for a request. */
  sign(body: string): Promise<Hex> {
    return this.#account.signTypedData(TypedBody.parse(JSON.parse(body)));
  }

  /** What its key signs for a text, which it takes as bytes when it looks like hex. */
  signText(body: string): Promise<Hex> {
    const { message } = MessageBody.parse(JSON.parse(body));
    const isHex = message.startsWith('0x');
    return this.#account.signMessage({ message: isHex ? { raw: `0x${message.slice(2)}` } : message });
  }

  /** Transactions that it was asked to sign. */
  get transactionBodies(): string[] {
    return this.log.filter(({ path }) => path.endsWith('/transaction')).map(({ body }) => body);
  }

  /** What its key signs for a transaction. */
  signTransaction(body: string): Promise<Hex> {
    const asked = TransactionBody.parse(JSON.parse(body));
    return this.#account.signTransaction({
      type: 'eip1559',
      chainId: Number(asked.chain_id),
      to: asked.to,
      nonce: Number(asked.nonce),
      gas: asked.gas_limit,
      maxFeePerGas: asked.max_fee_per_gas,
      maxPriorityFeePerGas: asked.max_priority_fee_per_gas,
      value: asked.value,
      data: asked.data,
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(z.instanceof(Buffer).parse(chunk));
    const { authorization } = request.headers;
    const { method = '', url: path = '' } = request;
    const asked: Asked = { method, path, authorization, body: Buffer.concat(chunks).toString('utf8') };
    this.log.push(asked);
    answer(response, await this.#decide(asked));
  }

  async #decide(asked: Asked): Promise<SignAnswer> {
    if (this.token !== null && asked.authorization !== `Bearer ${this.token}`)
      return { status: this.unauthorizedStatus, body: { error: 'unauthorized' } };
    if (asked.path === '/api/v1/keys') return this.keys;
    if (asked.path.endsWith('/message')) return this.onSign(await this.signText(asked.body), asked);
    if (asked.path.endsWith('/transaction')) return this.onTransaction(await this.signTransaction(asked.body), asked);
    if (!asked.path.endsWith('/typed-data')) return { status: 404, body: { error: 'not found' } };
    return this.onSign(await this.sign(asked.body), asked);
  }
}

function answer(response: ServerResponse, decided: SignAnswer): void {
  if (decided === 'reset') {
    response.socket?.resetAndDestroy();
    return;
  }
  const { status = 200, body, headers = {} } = decided;
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text);
}
