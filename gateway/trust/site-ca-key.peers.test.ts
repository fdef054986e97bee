/** A gateway whose site CA signs in a token of SoftHSM: `softhsm2-util` must be installed. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { issueSiteCa } from '@holdfast/provisioning/pki/issue';
import { createTestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { verifyChain } from '@holdfast/provisioning/pki/verify';
import { startChild } from '@holdfast/provisioning/program/children';
import t from 'tap';
import { enrol } from '../faults/enrolled-site.js';
import { openGatewayRecord } from './gateway-identity.js';
import { createSiteCaKey, siteCaKeyFile } from './site-ca-key.js';

const bin = fileURLToPath(new URL('../../bin/holdfast-gateway.js', import.meta.url));
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

t.test('a gateway starts with the key of its site CA in a token, and only with it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-token-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'tokens'));
  const conf = join(folder, 'softhsm2.conf');
  await writeFile(conf, `directories.tokendir = ${folder}/tokens\n`);
  process.env.SOFTHSM2_CONF = conf;
  const pinFile = join(folder, 'pin');
  await writeFile(pinFile, '4711', { mode: 0o600 });
  await promisify(execFile)('softhsm2-util', [
    ...['--init-token', '--free', '--label', 'site', '--so-pin', '1234', '--pin', '4711'],
  ]);
  const module = '/usr/lib/softhsm/libsofthsm2.so';
  const token = { module, token: 'site', pinFile, key: 'site CA' };

  const data = join(folder, 'data');
  await mkdir(data, { mode: 0o700 });
  const fleet = await createTestFleet();
  const key = await createSiteCaKey({ dataDirectory: data, token });
  const { root, site, now } = fleet;
  const siteCa = await issueSiteCa(root, key.publicKey, { site, now });
  await enrol(fleet, data);
  const record = await openGatewayRecord(data, silent);
  await rm(join(data, siteCaKeyFile));
  await record.update((enrolled) => enrolled && { ...enrolled, site_ca_certificate: siteCa.pem });

  const env = {
    HOLDFAST_LISTEN__HOST: '127.0.0.1',
    HOLDFAST_LISTEN__MQTTS_PORT: '0',
    HOLDFAST_LISTEN__HTTPS_PORT: '0',
    HOLDFAST_LISTEN__CONSOLE_PORT: '0',
  };
  const inToken = {
    HOLDFAST_PKCS11__MODULE: module,
    HOLDFAST_PKCS11__TOKEN: 'site',
    HOLDFAST_PKCS11__PIN_FILE: pinFile,
    HOLDFAST_PKCS11__KEY: 'site CA',
  };
  const args = ['--data', data, '--log-level', 'warn'];
  const child = await startChild({ bin, args, env: { ...env, ...inToken } });
  try {
    const socket = connect({
      host: '127.0.0.1',
      port: child.ports.https,
      rejectUnauthorized: false,
    });
    await once(socket, 'secureConnect');
    const server = socket.getPeerX509Certificate()?.raw ?? new Uint8Array();
    socket.destroy();
    const chain = { root: root.certificate, intermediates: [siteCa], at: Date.now() };
    const verdict = verifyChain({
      ...chain,
      certificate: parseCertificate(new Uint8Array(server)),
      role: 'gateway-server',
    });
    t.equal(verdict.refused, undefined, 'its server certificate was signed in the token');
  } finally {
    await child.stop();
  }

  await t.rejects(startChild({ bin, args, env }), { message: /site-ca\.key\.pem/ });
  const other = { ...inToken, HOLDFAST_PKCS11__KEY: 'another' };
  await t.rejects(startChild({ bin, args, env: { ...env, ...other } }), {
    message: /no private key .*another/,
  });
});
