import { randomBytes } from 'node:crypto';
import { createSiweMessage } from 'viem/siwe';

declare const textBrand: unique symbol;

/** The text of a sign-in. Only this file makes one, so a key holder that takes nothing else signs no other text. */
export type SignInText = string & { readonly [textBrand]: true };

declare const credentialBrand: unique symbol;

/** Value of the header `Authorization` that signs in once. A bearer instrument: never logged, stored or shown. */
export type SignInCredential = string & { readonly [credentialBrand]: true };

/** What a sign-in is for. The rest of its text is fixed or made by the guard. */
export interface SignInRequest {
  /** The address that is asked, on the worker's own host. */
  readonly url: string;
  /** The wallet that paid there. */
  readonly payer: `0x${string}`;
  readonly chainId: number;
}

/** A gate takes no text that is older than this, in milliseconds (worker-api.md section 6); ours says so itself. */
export const SIGN_IN_LIFE_MS = 600_000;
/** Whoever approves signatures by hand reads this. */
const STATEMENT = 'Read the jobs that this account has paid for. This moves no money.';

/** A nonce that no other sign-in has; viem's own is not made for secrets. */
export function createSignInNonce(): string {
  return randomBytes(16).toString('hex');
}

/**
 * The EIP-4361 text of a sign-in (worker-api.md section 6), built from the asked address alone.
 * @param nonce used once
 * @returns null for an address whose host cannot stand in such a text, or would make it look like bytes in hex
 */
export function buildSignInText(request: SignInRequest, nonce: string, issuedAtMs: number): SignInText | null {
  if (!URL.canParse(request.url)) return null;
  const { protocol, username, password, host, origin, pathname } = new URL(request.url);
  if (!['https:', 'http:'].includes(protocol) || username !== '' || password !== '') return null;
  // Remote signers take a text that starts so as bytes (remote-signer.md section 2): those would be nobody's words.
  if (host.startsWith('0x')) return null;
  try {
    const text = createSiweMessage({
      domain: host,
      address: request.payer,
      statement: STATEMENT,
      uri: `${origin}${pathname}`,
      version: '1',
      chainId: request.chainId,
      nonce,
      issuedAt: new Date(issuedAtMs),
      expirationTime: new Date(issuedAtMs + SIGN_IN_LIFE_MS),
    });
    return isSignInText(text) ? text : null;
  } catch {
    return null;
  }
}

/** The one place that brands a text. */
function isSignInText(_text: string): _text is SignInText {
  return true;
}

function isCredential(_value: string): _value is SignInCredential {
  return true;
}

/** The header value of a signed text: both parts in base64, the signature as its `0x` text. */
export function encodeSignIn(text: SignInText, signature: `0x${string}`): SignInCredential {
  const [message, proof] = [text, signature].map((part) => Buffer.from(part).toString('base64'));
  const value = `SIWX ${message}.${proof}`;
  if (!isCredential(value)) throw new TypeError('unreachable');
  return value;
}

/** Whether a worker's answer repeats the signature of a sign-in: such an answer is not kept, since records are public. */
export function repeatsSignIn(body: Buffer, credential: SignInCredential): boolean {
  const proof = credential.slice(credential.indexOf('.') + 1);
  const digits = Buffer.from(proof, 'base64').toString('utf8').slice(2);
  return body.includes(proof) || body.toString('latin1').toLowerCase().includes(digits.toLowerCase());
}
