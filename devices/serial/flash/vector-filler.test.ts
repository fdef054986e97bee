import t from 'tap';
import { vectorFiller } from './vector-filler.js';

t.test('the jumps to the loader are what avr-as makes of them', async (t) => {
  const large = vectorFiller(128, { loaderStart: 0x3e000, flashBytes: 262_144 });
  // cli; ldi r16, 0xff; out 0x3d, r16; ldi r16, 0x03; out 0x3e, r16; jmp 0x3e000; rjmp .-16
  t.equal(large.subarray(0, 16).toString('hex'), 'f8940fef0dbf03e00ebf0d9400f0f8cf');
  const small = vectorFiller(64, { loaderStart: 0x1c00, flashBytes: 8192 });
  // …; rjmp 0x1c00, backwards around the end of the flash
  t.equal(small.subarray(10, 12).toString('hex'), 'facd');
});
