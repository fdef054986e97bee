/** AWS IoT's SDKs connect: the kinds of keys that devices have, and what they see when the client id is none of theirs. */
import { execFile } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { type OwnKey, openSiteUnderTest } from '../../trust/site-under-test.js';
import { missingSdks, startSdkDevice } from './test-sdk-device.js';

const run = promisify(execFile);
const skip = missingSdks();

const rsaKey = async (folder: string): Promise<OwnKey> => {
  const [key, csr] = [join(folder, 'rsa.key'), join(folder, 'rsa.csr')];
  const made = ['-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=rsa', '-keyout', key, '-out', csr];
  await run('openssl', ['req', '-new', ...made]);
  return { key: await readFile(key, 'utf8'), csr: await readFile(csr, 'utf8') };
};

t.test('AWS IoT’s SDKs connect with the keys of their devices', { skip }, async (t) => {
  t.setTimeout(280_000);
  const site = await openSiteUnderTest();
  t.teardown(() => site.close());
  const ca = site.fleet.root.certificate.pem;
  const port = site.port('mqtts');
  const elliptic = await site.enrol('elliptic');
  const rsa = await site.enrol('rsa', await rsaKey(site.folder));
  const [leaf = ''] = elliptic.cert.split(/(?<=-----END CERTIFICATE-----\n)/);
  const inForm = (pem: string, type: 'pkcs1' | 'pkcs8' | 'sec1'): string =>
    createPrivateKey(pem).export({ type, format: 'pem' } as {
      type: 'pkcs8';
      format: 'pem';
    }) as string;
  const keys = [
    ['EC, PKCS8', { ...elliptic, key: inForm(elliptic.key, 'pkcs8') }],
    // As EST gives it: without the authority that issued it.
    ['EC, SEC1', { ...elliptic, cert: leaf, key: inForm(elliptic.key, 'sec1') }],
    ['RSA, PKCS8', { ...rsa, key: inForm(rsa.key, 'pkcs8') }],
    ['RSA, PKCS1', { ...rsa, key: inForm(rsa.key, 'pkcs1') }],
  ] as const;
  for (const kind of ['v2-requests', 'v1'] as const) {
    for (const [title, { device: thing, cert, key }] of keys) {
      t.test(`${kind}, ${title}`, async (t) => {
        const device = startSdkDevice(t, { kind, port, ca, cert, key, thing });
        await device.connect();
        if (kind === 'v1') await device.watch();
        t.match((await device.get()).rejected, { code: 404 });
      });
    }
  }

  const errors = [
    ['v2-requests', 3, /AWS_ERROR_MQTT_PROTOCOL_ERROR/],
    ['v2-requests', 5, /AWS_ERROR_MQTT5_CONNACK_CONNECTION_REFUSED.* \(reason code 133\)/],
    ['v1', 3, /Connection refused: Identifier rejected/],
  ] as const;
  for (const [kind, protocol, message] of errors) {
    t.test(
      `${kind}, MQTT ${protocol}: a client id that is not of the thing is refused`,
      async (t) => {
        const { device: thing, cert, key } = elliptic;
        const clientId = 'test-4f1c';
        const device = startSdkDevice(t, { kind, protocol, port, ca, cert, key, thing, clientId });
        await t.rejects(device.connect(), { message });
      },
    );
  }
});
