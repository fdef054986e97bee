/** `POST /api/v1/enroll` on the gateway's port for devices: a code and a certificate request for a certificate. */
import * as v from 'valibot';
import { isDeviceId } from '../mqtt/device-id.js';

const text = v.pipe(v.string(), v.maxLength(128));

/**
 * What a device sends. The code's secret is the authentication, or the certificate of its manufacturer with which it has connected. Sent
 * again with the same key, it gets the same certificate.
 */
export const enrolmentRequest = v.object({
  /** The secret part of the code, as provisioning/pki/claim-code parses it. */
  secret: v.exactOptional(v.pipe(v.string(), v.minLength(1), v.maxLength(64))),
  /** PKCS#10 in PEM. Only its public key is taken. */
  csr: v.pipe(v.string(), v.maxLength(16_384)),
  /** Needed where the code leaves the id to the device; a manufacturer's certificate says it. */
  device_id: v.exactOptional(v.pipe(v.string(), v.check(isDeviceId, 'Expected a device id'))),
  model: v.pipe(text, v.minLength(1)),
  serial_no: v.exactOptional(text),
  /** The firmware version that runs now. */
  firmware_version: v.exactOptional(v.pipe(text, v.minLength(1))),
  /** Whether the device renews its certificate by itself, so that it gets one that lives for days instead of a year. */
  renews: v.exactOptional(v.boolean()),
});
export type EnrolmentRequest = v.InferOutput<typeof enrolmentRequest>;

const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535));

/** What it gets. Certificates are in PEM. */
export const enrolmentAnswer = v.object({
  fleet: v.string(),
  site: v.string(),
  device_id: v.string(),
  certificate: v.string(),
  site_ca: v.string(),
  root: v.string(),
  /** On the same host as this answer came from. */
  ports: v.object({ mqtts: port, https: port }),
});
export type EnrolmentAnswer = v.InferOutput<typeof enrolmentAnswer>;
