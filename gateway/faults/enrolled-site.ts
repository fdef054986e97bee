/** A folder that a gateway finds its enrolment in, made without a control plane, and clients of the site's one device. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeKeyFile } from '@holdfast/provisioning/pki/keys';
import { createTestFleet, type TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { freePort } from '@holdfast/provisioning/program/free-port';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { linkKeyFile, openGatewayRecord } from '../trust/gateway-identity.js';
import { hashOperatorToken } from '../trust/operator-token.js';
import { siteCaKeyFile } from '../trust/site-ca-key.js';

export interface EnrolledSite {
  /** Data of the gateway. */
  readonly folder: string;
  /** Of this machine, where its devices look for it. */
  readonly port: number;
  /** A client of the site's device that connects again for ever; `suffix` sets its sessions apart. */
  connect(suffix: string, options?: IClientOptions): MqttClient;
  close(): Promise<void>;
}

export const device = 'press-1';
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

export const openEnrolledSite = async (): Promise<EnrolledSite> => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-faults-'));
  const fleet = await createTestFleet();
  await enrol(fleet, folder);
  const { tls } = await fleet.device(device);
  const port = await freePort();
  return {
    folder,
    port,
    connect(suffix, options = {}) {
      const client = connect({
        ...tls,
        ca: fleet.root.certificate.pem,
        host: '127.0.0.1',
        port,
        protocol: 'mqtts',
        clientId: `${device}:${suffix}`,
        clean: false,
        reconnectPeriod: 50,
        connectTimeout: 10_000,
        ...options,
      });
      // A gateway that is not there is what this is about.
      client.on('error', () => undefined);
      return client;
    },
    close: () => rm(folder, { recursive: true }),
  };
};

/** Leaves what an enrolment leaves. */
export const enrol = async (fleet: TestFleet, folder: string): Promise<void> => {
  const { certificate, key } = await fleet.gateway('gw-1');
  await writeKeyFile(join(folder, linkKeyFile), key);
  await writeKeyFile(join(folder, siteCaKeyFile), fleet.siteCa.key);
  const stored = await openGatewayRecord(folder, silent);
  const nowhere = `127.0.0.1:${await freePort()}`;
  await stored.update(() => ({
    fleet: fleet.fleet,
    site: fleet.site,
    gateway_id: 'gw-1',
    epoch: 1,
    link_address: nowhere,
    https_address: `https://${nowhere}`,
    gateway_certificate: certificate.pem,
    site_ca_certificate: fleet.siteCa.certificate.pem,
    former_site_cas: [],
    root_certificate: fleet.root.certificate.pem,
    operator_token_sha256: hashOperatorToken('nobody'),
  }));
};
