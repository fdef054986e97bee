/** Certificates in PEM files beside their keys. */
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';

/** undefined when there is no such file. Errors: CERTIFICATE_INVALID. */
export const readCertificateFile = async (path: string): Promise<Certificate | undefined> => {
  try {
    return parseCertificate(await readFile(path, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
};

/** Writes so that a power cut leaves the old file or the new one, never half. */
export const writeTextFile = async (path: string, text: string, mode = 0o644): Promise<void> => {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', mode);
  try {
    // A file that a crash left keeps its own mode.
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
};
