import t from 'tap';
import { checkMcubootVersion, isListedAs, readMcubootImage } from './mcuboot-image.js';
import { buildMcubootImage } from './test-mcuboot-image.js';

const image = buildMcubootImage({ version: '1.2.3+4', bodyBytes: 1_000 });

t.test('reads version and digest', async (t) => {
  const { version, hash } = readMcubootImage(image);
  t.equal(version, '1.2.3+4');
  t.equal(hash.length, 32);
  t.equal(readMcubootImage(buildMcubootImage({ version: '10.0.300' })).version, '10.0.300');
});

t.test('refuses what is no image, and what is not whole', async (t) => {
  const refused = { code: 'FLASH_IMAGE_INVALID' };
  t.throws(() => readMcubootImage(Buffer.from(':00000001FF\n')), refused);
  t.throws(() => readMcubootImage(Buffer.alloc(10_000)), refused);
  for (let length = 0; length < image.length; length += 37) {
    t.throws(() => readMcubootImage(image.subarray(0, length)), refused, `${String(length)} bytes`);
  }
});

t.test('refuses an image of which a byte has changed', async (t) => {
  for (const at of [8, 12, 20, 600, 1_400]) {
    const changed = Buffer.from(image);
    changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
    t.throws(
      () => readMcubootImage(changed),
      { code: 'FLASH_IMAGE_INVALID' },
      `byte ${String(at)}`,
    );
  }
});

t.test('has to be of the version of its release', async (t) => {
  const built = readMcubootImage(image);
  checkMcubootVersion(built, '1.2.3+4');
  checkMcubootVersion(readMcubootImage(buildMcubootImage({ version: '2.0.0' })), '2.0.0');
  checkMcubootVersion(readMcubootImage(buildMcubootImage({ version: '2.0.0' })), '2.0.0+0');
  for (const other of ['1.2.3', '1.2.3+5', '1.2.4+4', '1.2.3-rc.1', 'v1', '']) {
    t.throws(() => checkMcubootVersion(built, other), { code: 'FLASH_IMAGE_INVALID' }, other);
  }
});

t.test('is listed with its build number behind a dot, or without one', async (t) => {
  t.ok(isListedAs('1.2.3', '1.2.3'));
  t.ok(isListedAs('1.2.3', '1.2.3.0'));
  t.ok(isListedAs('1.2.3+4', '1.2.3.4'));
  t.notOk(isListedAs('1.2.3', '1.2.3.4'));
  t.notOk(isListedAs('1.2.0', '1.2'));
});
