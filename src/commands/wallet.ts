import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatUsd } from '../base/money.ts';
import { isoTime } from '../base/time.ts';
import { readConfig } from '../config.ts';
import { freeze, loadFreeze, unfreeze } from '../payment/freeze.ts';
import { loadHistory } from '../payment/history.ts';
import { createKeystore } from '../payment/keystore.ts';
import { storeFolder } from '../store/folder.ts';
import type { Output } from './output.ts';
import { withCoordinator } from './with-coordinator.ts';

/** `wallet`: payer, balance, caps and spending. Exit code 1 without a wallet. */
export async function runWallet(output: Output): Promise<number> {
  const wallet = await withCoordinator((coordinator) => coordinator.wallet());
  output.emit(wallet);
  const { payer, chain, balance_atomic, caps, health } = wallet;
  const usd = (atomic: string) => `${formatUsd(BigInt(atomic))} USDC`;
  output.say(payer === undefined ? `No wallet: ${health.signer}.` : `Payer    ${payer} on ${chain}, ${health.signer}`);
  if (payer !== undefined)
    output.say(`Balance  ${balance_atomic === undefined ? `unknown (${health.rpc})` : usd(balance_atomic)}`);
  output.say(`Spent    ${usd(wallet.spent_atomic)}, of it ${usd(wallet.spent_24h_atomic)} within 24 hours`);
  output.say(
    `Reserved ${usd(wallet.reserved_atomic)}, of it ${usd(wallet.unknown_atomic)} whose fate is not known yet`,
  );
  output.say(
    `Left     ${usd(wallet.left_24h_atomic)} of ${usd(caps.budget_24h_atomic)} per 24 hours; at most ${usd(caps.max_price_atomic)} per experiment`,
  );
  if (wallet.frozen_since !== undefined) output.say(`Frozen   since ${wallet.frozen_since}: nothing is signed or sent`);
  if (payer === undefined) output.note(wallet.next_step);
  return payer === undefined ? 1 : 0;
}

/** `wallet create`: a new key in an encrypted keystore. */
export async function runWalletCreate(output: Output): Promise<number> {
  const config = readConfig(process.env);
  const folder = storeFolder(config.dataDir);
  const keystore = config.keystoreFile ?? join(folder, 'keystore.json');
  const passwordFile = config.keystorePasswordFile ?? join(folder, 'keystore-password');
  if (config.keystorePasswordFile === undefined && !existsSync(passwordFile)) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(passwordFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' });
  }
  const address = await createKeystore(keystore, passwordFile);
  output.emit({ address, keystore, password_file: passwordFile });
  output.say(`Created the key of ${address}.`);
  output.say(`export AUTORESEARCH_KEYSTORE=${keystore}\nexport AUTORESEARCH_KEYSTORE_PASSWORD_FILE=${passwordFile}`);
  output.say(
    `Keep both files; whoever has both has the money. Send it only what experiments may cost, on ${config.defaultChain.name}.`,
  );
  return 0;
}

/** `wallet freeze` and `wallet unfreeze`: stops and allows all spending of the store, for all its processes. */
export async function runWalletFreeze(isFrozen: boolean, output: Output): Promise<number> {
  const since = await withCoordinator(async (coordinator) => {
    const { db, clock } = await coordinator.services();
    if (isFrozen) await freeze(db, isoTime(clock.nowMs()));
    else await unfreeze(db);
    return loadFreeze(db);
  });
  output.emit({ frozen_since: since });
  output.say(
    since === null
      ? 'Spending is allowed.'
      : `All spending is frozen since ${since}. Payments that were sent before may still settle; nothing else is signed or sent.`,
  );
  return 0;
}

/** `wallet history`: every payment, as CSV for a spreadsheet. */
export async function runWalletHistory(isCsv: boolean, output: Output): Promise<number> {
  const payments = await withCoordinator(async (coordinator) => loadHistory((await coordinator.services()).db));
  output.emit({ payments });
  const names = [
    'time',
    'experiment_id',
    'attempt',
    'amount_usdc',
    'state',
    'chain',
    'pay_to',
    'worker_endpoint',
    'payment_tx',
  ] as const;
  const separator = isCsv ? ',' : '  ';
  if (isCsv) output.say(names.join(separator));
  for (const payment of payments) output.say(names.map((name) => toCell(payment[name], isCsv)).join(separator));
  return 0;
}

/** A cell of a CSV file; one that a spreadsheet would run as a formula is quoted as text. */
function toCell(value: string | number, isCsv: boolean): string {
  const text = String(value);
  if (!isCsv || !/[",\n\r]|^[=+\-@]/.test(text)) return text;
  return `"${(/^[=+\-@]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
}
