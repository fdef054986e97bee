import { createPrivateKey } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseCertificate } from '@holdfast/provisioning/pki/certificate';
import { formatClaimCode, parseClaimCode } from '@holdfast/provisioning/pki/claim-code';
import { issueDevice } from '@holdfast/provisioning/pki/issue';
import { createKey, privatePem, writeKeyFile } from '@holdfast/provisioning/pki/keys';
import t, { type Test } from 'tap';
import { DeviceKeys } from './device-keys.js';
import { enrol } from './enrol.js';
import { silentLog as log } from './log.js';
import { TestGateway } from './test-gateway.js';
import { makeDirectory } from './update/update-fixture.js';

const setUp = async (t: Test) => {
  const gateway = await TestGateway.open();
  const directory = await makeDirectory();
  t.teardown(async () => {
    await gateway.close();
    await directory.remove();
  });
  const dataDir = join(directory.path, 'device');
  await enrol({ log }, { dataDir, proof: { code: gateway.code }, deviceId: 'dev-1', model: 'pi' });
  const { siteCa } = gateway.fleet;
  const certify = async (key: Awaited<ReturnType<typeof createKey>>) => ({
    certificate: await issueDevice(siteCa, key.publicKey, { device: 'dev-1', now: Date.now() }),
    siteCa: siteCa.certificate,
  });
  const keyFiles = async () =>
    (await readdir(dataDir)).filter((name) => name.includes('.key')).sort();
  const enrolWith = (code: string) =>
    enrol({ log }, { dataDir, proof: { code }, deviceId: 'dev-1', model: 'pi' });
  return {
    gateway,
    enrolWith,
    dataDir,
    certify,
    keyFiles,
    open: () => DeviceKeys.open(dataDir, log),
  };
};

t.test('asks with the same key until it has the certificate for it', async (t) => {
  const { open, certify, keyFiles } = await setUp(t);
  const enrolled = await (await open()).credentials();
  const key = await (await open()).prepare();
  // The power went before the answer came.
  const keys = await open();
  t.same((await keys.credentials()).key, enrolled.key, 'the old pair is still the one in use');
  t.ok((await keys.prepare()).publicKey.equals(key.publicKey));
  const renewed = await certify(key);
  const adopted = await keys.adopt(renewed);
  t.equal(adopted.key, privatePem(key));
  t.equal(adopted.identity.certificate, renewed.certificate.pem);
  const again = await (await open()).credentials();
  t.same(again, adopted, 'and after a restart');
  t.equal(again.identity.previous?.certificate, enrolled.identity.certificate);
  t.equal((await keyFiles()).length, 2, 'the key before is kept');
  t.notOk((await keys.prepare()).publicKey.equals(key.publicKey), 'the next is another');
});

t.test('forgets keys that no record names, and those before the one before', async (t) => {
  const { open, certify, keyFiles, dataDir } = await setUp(t);
  // The power went between the file and the record.
  await writeKeyFile(join(dataDir, 'device-0123456789ab.key'), await createKey());
  const keys = await open();
  t.same(await keyFiles(), ['device.key']);
  for (let turn = 0; turn < 3; turn += 1) await keys.adopt(await certify(await keys.prepare()));
  const { keyFile, previous } = keys.identity;
  t.same(await keyFiles(), [keyFile, previous?.keyFile].sort());
  const { identity, key } = await keys.credentials();
  const certificate = parseCertificate(identity.certificate);
  t.ok(certificate.x509.checkPrivateKey(createPrivateKey(key)));
});

t.test(
  'a device that enrols anew has another key, and the same again for the same code',
  async (t) => {
    const { gateway, open, certify, enrolWith, keyFiles } = await setUp(t);
    const first = (await (await open()).credentials()).key;
    await enrolWith(gateway.code);
    t.equal((await (await open()).credentials()).key, first, 'the answer was lost, say');
    const code = parseClaimCode(gateway.code);
    const other = formatClaimCode({ ...code, secret: 'fedcba9876543210' });
    await enrolWith(other);
    const keys = await open();
    const second = (await keys.credentials()).key;
    t.not(second, first, 'the one before may have been stolen');
    await enrolWith(other);
    t.equal((await (await open()).credentials()).key, second);
    t.equal((await keyFiles()).length, 1, 'and the one before is gone');
    await keys.adopt(await certify(await keys.prepare()));
    t.not((await keys.credentials()).key, second);
  },
);
