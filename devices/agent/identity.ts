/**
 * Who this device is and whom it trusts: the record `identity.json` and the key beside it that it names.
 *
 * Errors: `NOT_ENROLLED` when there is none yet.
 */
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { isDeviceId } from '@holdfast/protos/mqtt/device-id';
import { privatePem, readKeyFile } from '@holdfast/provisioning/pki/keys';
import { openRecord, type StoredRecord } from '@holdfast/provisioning/storage/record';
import * as v from 'valibot';
import type { Log } from './log.js';

const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));
const text = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
const pem = v.pipe(v.string(), v.startsWith('-----BEGIN CERTIFICATE-----'), v.maxLength(32_768));

const fileName = v.pipe(v.string(), v.regex(/^device[A-Za-z0-9_-]*\.key$/, 'Expected a key file'));

const identitySchema = v.object({
  fleet: text,
  site: text,
  deviceId: v.pipe(v.string(), v.check(isDeviceId, 'Expected a device id')),
  model: text,
  serialNo: v.nullable(text),
  certificate: pem,
  siteCa: pem,
  root: pem,
  /** The file with its key: `device.key` until the certificate was renewed for the first time. */
  keyFile: v.exactOptional(fileName),
  /** Which proof it was enrolled with, by the beginning of its hash. */
  proof: v.exactOptional(v.pipe(v.string(), v.regex(/^[0-9a-f]{12}$/))),
  /** The file with the key that a new certificate is being asked for. */
  nextKeyFile: v.exactOptional(fileName),
  /** The certificate before the last renewal, and its key. */
  previous: v.exactOptional(v.object({ certificate: pem, keyFile: fileName })),
  /** Tried one after the other. */
  gateways: v.pipe(v.array(v.object({ host: text, mqtts: port, https: port })), v.minLength(1)),
});

export type DeviceIdentity = v.InferOutput<typeof identitySchema>;
export type GatewayAddress = DeviceIdentity['gateways'][number];

export const firstKeyFile = 'device.key';
/** Where a device that enrols has its key. */
export const keyPath = (dataDir: string): string => join(dataDir, firstKeyFile);

export const openIdentityRecord = (
  dataDir: string,
  log: Log,
): Promise<StoredRecord<DeviceIdentity | null>> =>
  openRecord<DeviceIdentity | null>({
    path: join(dataDir, 'identity.json'),
    parse: (value) => v.parse(v.nullable(identitySchema), value),
    initial: null,
    log,
  });

/** An identity that can act: with its private key in PEM. Never log it. */
export interface Credentials {
  readonly identity: DeviceIdentity;
  readonly key: string;
}

export const loadCredentials = async (dataDir: string, log: Log): Promise<Credentials> => {
  const { data: identity } = await openIdentityRecord(dataDir, log);
  if (identity === null) {
    const message = `${dataDir} holds no identity. Enrol with: holdfast-device enroll CODE --data ${dataDir}`;
    throw new HoldfastError('NOT_ENROLLED', message);
  }
  const path = join(dataDir, identity.keyFile ?? firstKeyFile);
  return { identity, key: privatePem(await readKeyFile(path)) };
};
