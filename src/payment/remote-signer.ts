import { request } from 'undici';
import { getAddress, type Hex, isAddress } from 'viem';
import * as z from 'zod';
import { CoordinatorError } from '../base/errors.ts';
import { readCapped } from '../net/body.ts';
import type { FeedbackTransaction } from './feedback-transaction.ts';
import type { KeyHolder, TransferTypedData } from './guard.ts';

export interface RemoteSignerOptions {
  /** Base address of the service; a path prefix is kept. */
  readonly url: string;
  readonly token: string | undefined;
  /** Address to pay from; undefined: the only key that the signer has. */
  readonly payer: string | undefined;
  /** How long one answer may take, milliseconds: approvals by hand take minutes. */
  readonly deadlineMs: number;
}

export type SignerErrorCode =
  | 'signer_unreachable'
  | 'signer_unauthorized'
  | 'signer_unknown_address'
  | 'signer_ambiguous'
  | 'signer_refused'
  | 'signer_bad_answer';

/** The signing service cannot be used. Its own words are never shown. */
export class SignerError extends CoordinatorError {
  override readonly name = 'SignerError';
  constructor(
    readonly code: SignerErrorCode,
    message: string,
    readonly nextStep: string,
  ) {
    super(`${message} Nothing was sent or paid.`);
  }
}

const MAX_BYTES = 65_536;
const KEYS_DEADLINE_MS = 10_000;
/** The same body may be signed twice: its nonce is fixed, so it authorises one thing, or signs in once. */
const TRIES = 2;

const Address = z.string().refine((text) => isAddress(text, { strict: false }));
const Keys = z.union([z.object({ keys: z.array(Address) }).transform(({ keys }) => keys), z.array(Address)]);
const Signature = z.object({ signature: z.templateLiteral(['0x', z.string()]) });
const SignedTransaction = z.object({ signed_transaction: z.templateLiteral(['0x', z.string()]) });

const DOMAIN_TYPES = [
  { name: 'name', type: 'string' },
  { name: 'version', type: 'string' },
  { name: 'chainId', type: 'uint256' },
  { name: 'verifyingContract', type: 'address' },
];

/**
 * Connects to a remote signer and settles which of its keys pays (remote-signer.md section 7).
 * @throws SignerError
 */
export async function connectRemoteSigner(options: RemoteSignerOptions): Promise<KeyHolder> {
  const base = options.url.replace(/\/+$/, '');
  const answer = await ask(`${base}/api/v1/keys`, { token: options.token, deadlineMs: KEYS_DEADLINE_MS });
  const keys = Keys.safeParse(answer);
  if (!keys.success)
    throw new SignerError(
      'signer_bad_answer',
      'The remote signer answered with something that is no list of keys.',
      'Check that REMOTE_SIGNER_URL is the address of a remote-signer.',
    );
  const listed = choosePayer(keys.data, options.payer);
  return {
    address: getAddress(listed),
    signTransfer: (data) => sign(`${base}/api/v1/sign/${listed}/typed-data`, encodeTypedData(data), options),
    signText: (text) => sign(`${base}/api/v1/sign/${listed}/message`, JSON.stringify({ message: text }), options),
    signFeedback: (transaction) => signFeedback(`${base}/api/v1/sign/${listed}/transaction`, transaction, options),
  };
}

/** The payer in the signer's own spelling, which its paths want. */
function choosePayer(keys: readonly string[], payer: string | undefined): string {
  if (payer === undefined) {
    const [only] = keys;
    if (only !== undefined && keys.length === 1) return only;
    const list = keys.length === 0 ? 'it has none' : `it has ${keys.join(', ')}`;
    throw new SignerError(
      'signer_ambiguous',
      `The remote signer must have exactly one key, but ${list}.`,
      keys.length === 0 ? 'Load a key into it.' : 'Set AUTORESEARCH_PAYER to the address to pay from.',
    );
  }
  const listed = keys.find((key) => key.toLowerCase() === payer.toLowerCase());
  if (listed !== undefined) return listed;
  throw new SignerError(
    'signer_unknown_address',
    `The remote signer has no key for ${payer}; it has ${keys.join(', ') || 'none'}.`,
    'Set AUTORESEARCH_PAYER to one of its addresses, or load that key into it.',
  );
}

function encodeTypedData(data: TransferTypedData): string {
  return JSON.stringify(
    {
      types: { EIP712Domain: DOMAIN_TYPES, ...data.types },
      primaryType: data.primaryType,
      domain: data.domain,
      message: data.message,
    },
    (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
  );
}

async function sign(url: string, body: string, options: RemoteSignerOptions): Promise<Hex> {
  const answer = Signature.safeParse(await ask(url, { token: options.token, deadlineMs: options.deadlineMs, body }));
  if (answer.success) return answer.data.signature;
  throw new SignerError(
    'signer_bad_answer',
    'The remote signer answered without a signature.',
    'Check its version and log.',
  );
}

/** Numbers travel as decimal texts (remote-signer.md section 2). */
async function signFeedback(url: string, transaction: FeedbackTransaction, options: RemoteSignerOptions): Promise<Hex> {
  const body = JSON.stringify({
    chain_id: String(transaction.chainId),
    to: transaction.to,
    nonce: String(transaction.nonce),
    gas_limit: transaction.gas.toString(),
    max_fee_per_gas: transaction.maxFeePerGas.toString(),
    max_priority_fee_per_gas: transaction.maxPriorityFeePerGas.toString(),
    value: transaction.value.toString(),
    data: transaction.data,
  });
  const answer = await ask(url, { token: options.token, deadlineMs: options.deadlineMs, body });
  const signed = SignedTransaction.safeParse(answer);
  if (signed.success) return signed.data.signed_transaction;
  throw new SignerError(
    'signer_bad_answer',
    'The remote signer answered without a signed transaction.',
    'Check its version and log.',
  );
}

interface Question {
  readonly token: string | undefined;
  readonly deadlineMs: number;
  readonly body?: string;
}

/** One question with one retry where that helps: no answer, or an internal error. */
async function ask(url: string, question: Question): Promise<unknown> {
  for (let tries = 1; ; tries += 1) {
    const answer = await exchange(url, question).catch(() => null);
    if (answer?.status === 200) return answer.document;
    const isPassing = answer === null || answer.status >= 500;
    if (!isPassing || tries >= TRIES) throw explain(answer?.status ?? null);
  }
}

async function exchange(
  url: string,
  { token, deadlineMs, body }: Question,
): Promise<{ status: number; document: unknown } | null> {
  // undici follows no redirect by itself and knows no proxy of the environment.
  const response = await request(url, {
    method: body === undefined ? 'GET' : 'POST',
    body: body ?? null,
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    headersTimeout: deadlineMs,
    bodyTimeout: deadlineMs,
    signal: AbortSignal.timeout(deadlineMs),
  });
  const raw = await readCapped(response.body, MAX_BYTES);
  if (raw === 'too_large') return null;
  return {
    status: response.statusCode,
    document: response.statusCode === 200 ? JSON.parse(raw.toString('utf8')) : null,
  };
}

function explain(status: number | null): SignerError {
  if (status === null)
    return new SignerError(
      'signer_unreachable',
      'The remote signer gave no usable answer.',
      'Check REMOTE_SIGNER_URL and that the signer runs.',
    );
  if (status === 401 || status === 403)
    return new SignerError(
      'signer_unauthorized',
      `The remote signer refused our token (HTTP ${status}).`,
      'Set REMOTE_SIGNER_TOKEN to the token of the signer.',
    );
  if (status === 404)
    return new SignerError(
      'signer_unknown_address',
      'The remote signer no longer has the key that pays.',
      'Load that key into it again, or set AUTORESEARCH_PAYER.',
    );
  return new SignerError(
    'signer_refused',
    `The remote signer refused to sign (HTTP ${status}).`,
    'Look into the log of the signer.',
  );
}
