/** `firmware pull`: the published metadata comes into the folder, for people who sign in turns. */

import { HoldfastError, isHoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { fromServiceError } from '@holdfast/protos/errors/service-error';
import { type MetadataFile, metadataId } from '../../../firmware/metadata-file.js';
import { trustRoot } from '../../../firmware/trusted-state.js';
import { verifyMetadata } from '../../../firmware/verify-release.js';
import type { CloudClient } from '../../cloud-client.js';
import type { CommandContext } from '../../context.js';
import { metadataFolder, type SigningOptions } from './signing-options.js';

export const pullMetadata = async (
  context: CommandContext,
  options: SigningOptions,
): Promise<void> => {
  const { terminal, signal } = context;
  const folder = metadataFolder(context, options);
  const held = new Map((await folder.read()).map((file) => [metadataId(file), file]));
  const published = await readPublished(await context.cloud(), signal);
  // A root that is here is trusted; without one, the control plane that was logged in at is.
  const first = held.get('root.1');
  const trusted = first === undefined ? null : trustRoot(first);
  const verdict = verifyMetadata(trusted, published, null, { head: null });
  if (published.length > 0 && !verdict.ok) {
    throw new HoldfastError(verdict.code, verdict.message);
  }
  const written: MetadataFile[] = [];
  const kept: MetadataFile[] = [];
  for (const file of published) {
    const here = held.get(metadataId(file));
    if (here?.signed === file.signed) continue;
    if (here !== undefined && here.version > file.version) {
      kept.push(here);
      continue;
    }
    await folder.write(file);
    written.push(file);
  }
  terminal.json({ written: written.map(named), kept: kept.map(named) });
  for (const file of written) {
    terminal.line(`${terminal.paint('green', '✓')} ${file.role}, version ${file.version}`);
  }
  for (const file of kept) {
    terminal.line(
      `${terminal.paint('yellow', '…')} ${file.role}, version ${file.version}, is not published yet and stays`,
    );
  }
  if (written.length + kept.length === 0) terminal.line('All of it is here already');
};

const named = ({ role, version }: MetadataFile) => ({ role, version });

/** Errors: those of the API. */
export const readPublished = async (
  client: CloudClient,
  signal: AbortSignal,
): Promise<MetadataFile[]> => {
  const call = client.firmware.readMetadata({}, client.metadata);
  const cancel = (): void => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  const files: MetadataFile[] = [];
  try {
    for await (const { role, version, signed } of call) {
      files.push({ role, version: Number(version), signed });
    }
    return files;
  } catch (error) {
    if (isHoldfastError(error)) throw error;
    throw fromServiceError(error as Parameters<typeof fromServiceError>[0], call.getPeer());
  } finally {
    signal.removeEventListener('abort', cancel);
  }
};
