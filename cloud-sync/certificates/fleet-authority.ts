/**
 * The fleet's authority: its root, the certificate that plans are signed under, and that of this server, in files of one folder. The
 * root is made once; the others are issued anew when they run out or no longer fit.
 */
import { mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { DocumentSigner } from '@holdfast/provisioning/documents/signature';
import { type Certificate, pemChain } from '@holdfast/provisioning/pki/certificate';
import { nameField } from '@holdfast/provisioning/pki/distinguished-name';
import {
  type Authority,
  issueControlPlane,
  issuePlanSigner,
  issueRoot,
} from '@holdfast/provisioning/pki/issue';
import { type KeyPair, loadOrCreateKey, privatePem } from '@holdfast/provisioning/pki/keys';
import type { ServerCertificate } from '../api/grpc-server.js';
import { readCertificateFile, writeTextFile } from './certificate-file.js';

export interface FleetAuthorityOptions {
  /** Folder of its own, made with mode 0700. */
  readonly folder: string;
  /** The fleet's name, for a root that is made now. */
  readonly fleet: string;
  /** Host names and addresses that this server is reached under. */
  readonly hosts: readonly string[];
  readonly now: () => number;
}

export interface FleetAuthority {
  /** The name in the root. */
  readonly fleet: string;
  readonly root: Authority;
  readonly planSigner: DocumentSigner;
  /** Chain with the root, so that a first contact that knows only its fingerprint can verify it. */
  readonly server: ServerCertificate;
  /**
   * Issues anew what is in the last third of its life, the plan signer's and the server's; to be called now and then while the
   * program runs. Plans and connections from then on are made with the new ones.
   */
  renew(): Promise<void>;
}

/**
 * Opens the authority, making what is missing. Every step can be cut: a key without its certificate gets one at the next start. Errors:
 * KEY_INVALID, CERTIFICATE_INVALID; CONFIGURATION_INVALID when the root is of another fleet or key.
 */
export const openFleetAuthority = async (
  options: FleetAuthorityOptions,
): Promise<FleetAuthority> => {
  const { folder, fleet, hosts, now } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const root = await openRoot(folder, fleet, now());
  const openSigner = () =>
    openLeaf(folder, 'plan-signer', {
      now: now(),
      fits: () => true,
      issue: (key) => issuePlanSigner(root, key.publicKey, { now: now() }),
    });
  const openServer = () =>
    openLeaf(folder, 'server', {
      now: now(),
      fits: ({ x509 }) =>
        hosts.every((host) => (isIP(host) === 0 ? x509.checkHost(host) : x509.checkIP(host))),
      issue: (key) => issueControlPlane(root, key.publicKey, { hosts, now: now() }),
    });
  let signer = await openSigner();
  let server = await openServer();
  const listeners = new Set<() => void>();
  return {
    fleet,
    root,
    // Whoever holds one of these uses the certificate of now.
    planSigner: {
      get certificate() {
        return signer.certificate;
      },
      get key() {
        return signer.key;
      },
    },
    server: {
      get cert() {
        return pemChain(server.certificate, root.certificate);
      },
      get key() {
        return privatePem(server.key);
      },
      onRenewed: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    renew: async () => {
      signer = await openSigner();
      const renewed = await openServer();
      const isOther = renewed.certificate.serial !== server.certificate.serial;
      server = renewed;
      if (isOther) for (const listener of listeners) listener();
    },
  };
};

const openRoot = async (folder: string, fleet: string, now: number): Promise<Authority> => {
  const path = join(folder, 'root.crt');
  const found = await readCertificateFile(path);
  const key = await loadOrCreateKey(join(folder, 'root.key'));
  if (found === undefined) {
    const certificate = await issueRoot(key, { fleet, now });
    await writeTextFile(path, certificate.pem);
    return { certificate, key };
  }
  if (!found.x509.checkPrivateKey(key.privateKey)) {
    throw new HoldfastError('CONFIGURATION_INVALID', `${path} and root.key do not belong together`);
  }
  const named = nameField(found.subject, 'organization');
  if (named !== fleet) {
    throw new HoldfastError(
      'CONFIGURATION_INVALID',
      `The root in ${folder} is of the fleet "${named}". Set fleet.name to it, or name another data folder`,
    );
  }
  return { certificate: found, key };
};

interface Leaf {
  readonly now: number;
  readonly fits: (certificate: Certificate) => boolean;
  readonly issue: (key: KeyPair) => Promise<Certificate>;
}

const openLeaf = async (folder: string, name: string, leaf: Leaf): Promise<Authority<KeyPair>> => {
  const path = join(folder, `${name}.crt`);
  const key = await loadOrCreateKey(join(folder, `${name}.key`));
  const found = await readCertificateFile(path);
  if (
    found?.x509.checkPrivateKey(key.privateKey) &&
    !isRunningOut(found, leaf.now) &&
    leaf.fits(found)
  ) {
    return { certificate: found, key };
  }
  const certificate = await leaf.issue(key);
  await writeTextFile(path, certificate.pem);
  return { certificate, key };
};

/** In the last third of its life. */
const isRunningOut = ({ notBefore, notAfter }: Certificate, now: number): boolean =>
  now > notAfter - (notAfter - notBefore) / 3;
