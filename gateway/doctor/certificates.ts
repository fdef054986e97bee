/** How old the certificates of this gateway are, and whether its keys are for its eyes alone. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Certificate, parseCertificate } from '@holdfast/provisioning/pki/certificate';
import type { GatewayRecord } from '../trust/gateway-identity.js';
import { type Finding, findingsOf } from './finding.js';

export interface CertificatesOptions {
  readonly dataDir: string;
  readonly record: Pick<
    GatewayRecord,
    'gateway_certificate' | 'site_ca_certificate' | 'root_certificate'
  >;
  readonly now: number;
  /** Label of the key in a PKCS#11 token; undefined where it is in a file. */
  readonly tokenKey?: string | undefined;
}

const { ok, warning, failure } = findingsOf('certificates');
const dayMs = 86_400_000;

export const checkCertificates = async ({
  dataDir,
  record,
  now,
  tokenKey,
}: CertificatesOptions): Promise<Finding[]> => {
  const server = await serverCertificate(dataDir);
  const named: readonly (readonly [string, Certificate])[] = [
    ['link', parseCertificate(record.gateway_certificate)],
    ['site CA', parseCertificate(record.site_ca_certificate)],
    ...(server === undefined ? [] : [['server', server] as const]),
    ['fleet root', parseCertificate(record.root_certificate)],
  ];
  return [
    ...named.map(([name, certificate]) => judge(name, certificate, now)),
    await checkKeys(dataDir, tokenKey),
  ];
};

const judge = (name: string, { notBefore, notAfter }: Certificate, now: number): Finding => {
  const days = Math.floor((notAfter - now) / dayMs);
  const data = { notBefore, notAfter };
  const renewal =
    'it is renewed over the link by itself: see that the gateway runs and reaches the control plane';
  if (now > notAfter) {
    return failure(`the ${name} certificate has expired ${-days} days ago`, renewal, data);
  }
  if (now < notBefore) {
    return warning(
      `the ${name} certificate is not valid yet: is the clock right?`,
      'set the clock',
      data,
    );
  }
  const text = `the ${name} certificate is ${Math.floor((now - notBefore) / dayMs)} days old and has ${days} left`;
  return notAfter - now < (notAfter - notBefore) / 4
    ? warning(text, renewal, data)
    : ok(text, data);
};

const serverCertificate = async (dataDir: string): Promise<Certificate | undefined> => {
  try {
    const text = await readFile(join(dataDir, 'server-certificate.json'), 'utf8');
    return parseCertificate((JSON.parse(text) as { certificate: string }).certificate);
  } catch {
    // Made at the first start.
    return undefined;
  }
};

const checkKeys = async (dataDir: string, tokenKey: string | undefined): Promise<Finding> => {
  const keys = (await readdir(dataDir)).filter((name) => name.endsWith('.key.pem'));
  const modes = await Promise.all(
    keys.map(async (name) => ({ name, mode: (await stat(join(dataDir, name))).mode })),
  );
  const open = modes
    .filter(({ mode }) => (mode & 0o077) !== 0)
    .map(({ name }) => join(dataDir, name));
  return open.length === 0
    ? ok(
        `${keys.length} keys in files that only their owner may read; the site CA's is ${tokenKey === undefined ? 'one of them' : `in hardware, as "${tokenKey}"`}`,
      )
    : failure(
        `others may read ${open.join(', ')}`,
        `chmod 600 ${open.join(' ')}; whoever had access may have a copy: enrol anew`,
      );
};
