import t from 'tap';
import { prepareImage } from './flash-image.js';
import { avrParts, partNamed } from './parts.js';

const uno = partNamed('stk500v1', 'ATmega328P');

t.test('takes Intel HEX and plain bytes alike', async (t) => {
  const hex = prepareImage(Buffer.from(':040000000C94340028\n:00000001FF\n'), uno);
  t.same(hex.bytes, Buffer.from([0x0c, 0x94, 0x34, 0x00]));
  t.same(prepareImage(hex.bytes, uno), hex);
});

t.test('never reaches into the section of the boot loader', async (t) => {
  const room = 32 * 1024 - 512;
  t.equal(prepareImage(Buffer.alloc(room, 1), uno).bytes.length, room);
  t.throws(() => prepareImage(Buffer.alloc(room + 1, 1), uno), { code: 'FLASH_IMAGE_TOO_LARGE' });
});

t.test('refuses what no program begins with', async (t) => {
  t.throws(() => prepareImage(Buffer.alloc(100, 0xff), uno), { code: 'FLASH_IMAGE_INVALID' });
  t.throws(() => prepareImage(Buffer.alloc(0), uno), { code: 'FLASH_IMAGE_INVALID' });
  const elsewhere = Buffer.from(':04008000010203048A\n:00000001FF\n');
  t.throws(() => prepareImage(elsewhere, uno), { code: 'FLASH_IMAGE_INVALID' });
});

t.test('refuses what a compiler writes beside the image, with what to do', async (t) => {
  const elf = Buffer.concat([Buffer.from('\x7fELF\x01\x01\x01', 'latin1'), Buffer.alloc(5_000)]);
  t.throws(() => prepareImage(elf, uno), {
    code: 'FLASH_IMAGE_INVALID',
    message: /an ELF file: .*avr-objcopy .* -O ihex/,
  });
  t.throws(() => prepareImage(Buffer.from('S00A0000626C696E6B2E65A6\r\n'), uno), {
    code: 'FLASH_IMAGE_INVALID',
    message: /S-records/,
  });
});

t.test('knows its parts by any case, and says which it knows', async (t) => {
  t.equal(partNamed('stk500v2', 'ATmega2560').name, 'atmega2560');
  t.throws(() => partNamed('stk500v1', 'm328p'), {
    code: 'FLASH_PART_UNKNOWN',
    message: 'No part is called "m328p": do you mean "atmega328p"?',
  });
  t.throws(() => partNamed('stk500v1', 'attiny85'), { message: /; known: atmega8, .*atmega2561$/ });
  t.same(partNamed('mcuboot-smp', 'our-board'), { family: 'mcuboot', name: 'our-board' });
  t.equal(new Set(avrParts.map(({ signature }) => signature)).size, avrParts.length);
});
