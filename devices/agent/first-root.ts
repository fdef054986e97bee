/** The root of the firmware's metadata that a device is given by hand. Errors: `CONFIGURATION_INVALID`. */
import { readFile } from 'node:fs/promises';
import { HoldfastError, messageOf } from '@holdfast/protos/errors/holdfast-error';
import { readRoot } from '@holdfast/provisioning/firmware/metadata-file';
import { type TrustedState, trustRoot } from '@holdfast/provisioning/firmware/trusted-state';
import * as v from 'valibot';

const schema = v.object({ signed: v.object({ version: v.pipe(v.number(), v.safeInteger()) }) });

export const readFirstRoot = async (path: string): Promise<TrustedState> => {
  try {
    const signed = (await readFile(path, 'utf8')).trimEnd();
    const { version } = v.parse(schema, JSON.parse(signed)).signed;
    const file = { role: 'root', version, signed };
    readRoot(file);
    return trustRoot(file);
  } catch (error) {
    throw new HoldfastError('CONFIGURATION_INVALID', `firmware.root: ${messageOf(error)}`, {
      cause: error,
    });
  }
};
