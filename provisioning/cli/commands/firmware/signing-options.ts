/** What every command that signs is told: where the keys and the metadata are, and how the keys are opened. */
import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import type { Command } from 'commander';
import type { ImageScheme } from '../../../firmware/image-signature.js';
import { KeyFolder, type NamedKey } from '../../../firmware/key-folder.js';
import { MetadataFolder } from '../../../firmware/metadata-folder.js';
import { SigningDesk } from '../../../firmware/signing-desk.js';
import type { CommandContext } from '../../context.js';

export interface SigningOptions {
  readonly keys?: string;
  readonly metadata?: string;
  readonly passphraseFile?: string;
}

export const withSigningOptions = (command: Command): Command =>
  withMetadataOption(command)
    .option('--keys <folder>', 'the signing keys (default: firmware-keys in the folder of --data)')
    .option(
      '--passphrase-file <file>',
      'read the passphrase of the keys from a file, not from you',
    );

export const withMetadataOption = (command: Command): Command =>
  command.option(
    '--metadata <folder>',
    'the signed metadata (default: firmware-metadata in the folder of --data)',
  );

export const metadataFolder = (context: CommandContext, { metadata }: SigningOptions) =>
  new MetadataFolder(metadata ?? join(context.dataDirectory, 'firmware-metadata'));

export const keyFolder = (context: CommandContext, { keys }: SigningOptions) =>
  new KeyFolder(keys ?? join(context.dataDirectory, 'firmware-keys'));

/** What a command signs with. */
export interface Signing {
  readonly context: CommandContext;
  readonly keys: KeyFolder;
  readonly desk: SigningDesk;
  /** A key of that name: the one there is, or one that is made now. Errors: as `KeyFolder.create`. */
  makeKey(name: string, scheme?: ImageScheme): Promise<NamedKey>;
  /** Opens a key that is held here. Errors: KEY_INVALID. */
  openKey(name: string): Promise<KeyObject>;
}

/** The keys of one folder open with one passphrase, which is asked for once, when it is needed. */
export const openSigning = async (
  context: CommandContext,
  options: SigningOptions,
): Promise<Signing> => {
  const keys = keyFolder(context, options);
  const metadata = metadataFolder(context, options);
  let asked: Promise<string> | undefined;
  const passphrase = (keyName: string): Promise<string> => {
    asked ??= readPassphrase(context, options, `Passphrase of the key ${keyName}`);
    return asked;
  };
  const desk = await SigningDesk.open({ keys, metadata, passphrase });
  const openKey = async (name: string) => keys.open(name, await passphrase(name));
  return {
    context,
    keys,
    desk,
    openKey,
    makeKey: async (name, scheme) => {
      const known = desk.keys.find((key) => key.name === name);
      if (known !== undefined) return known;
      const other = desk.keys.find(({ isHeld }) => isHeld);
      if (other !== undefined) await openKey(other.name);
      else asked ??= newPassphrase(context, options);
      const made = await keys.create(name, await passphrase(name), scheme);
      await desk.readAgain();
      return made;
    },
  };
};

/** What is typed for a new key is typed twice. Errors: REQUEST_INVALID. */
const newPassphrase = async (context: CommandContext, options: SigningOptions): Promise<string> => {
  const passphrase = await readPassphrase(context, options, 'A passphrase for the keys');
  if (options.passphraseFile !== undefined || process.stdin.isTTY !== true) return passphrase;
  if ((await context.readPassword('Once more')) === passphrase) return passphrase;
  throw new HoldfastError('REQUEST_INVALID', 'the two differ');
};

const readPassphrase = async (
  { readPassword }: CommandContext,
  { passphraseFile }: SigningOptions,
  prompt: string,
): Promise<string> => {
  if (passphraseFile === undefined) return readPassword(prompt);
  const text = await readFile(passphraseFile, 'utf8').catch((cause: unknown) => {
    throw new HoldfastError('REQUEST_INVALID', `can't read ${passphraseFile}: ${messageOf(cause)}`);
  });
  const [line = ''] = text.split(/\r?\n/);
  if (line !== '') return line;
  throw new HoldfastError('REQUEST_INVALID', `${passphraseFile} has no passphrase in it`);
};

const dayMs = 86_400_000;

/** Errors: REQUEST_INVALID. */
export const expiryIn = ({ now }: CommandContext, days: string): number => {
  const count = Number(days);
  if (Number.isFinite(count) && count > 0 && count <= 36_500) return now() + count * dayMs;
  throw new HoldfastError('REQUEST_INVALID', `"${days}" is no number of days`);
};

/** Errors: REQUEST_INVALID. */
export const wholeNumber = (text: string, name: string, least: number): number => {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
  throw new HoldfastError('REQUEST_INVALID', `${name} is a whole number from ${least} on`);
};

/** An option that may be given more than once. */
export const each = (value: string, before: readonly string[] = []): string[] => [...before, value];
