/**
 * What stands in the reset vector's page while the rest of the flash is written: a few instructions that lead back to the boot loader, so
 * that no start of the application ever runs half an image.
 *
 * They set the stack first. Optiboot leaves by a call that nothing returns from; a loader and a jump back to it that go round for hours
 * would otherwise push the stack down through all memory and write over every register, those that drive pins among them (measured).
 */

/** For a loader that begins at `loaderStart` (a byte address). Encodings: Microchip's AVR instruction set manual. */
export const vectorFiller = (
  pageBytes: number,
  { loaderStart, flashBytes }: { readonly loaderStart: number; readonly flashBytes: number },
): Buffer => {
  const words = [cli, ldiR16(stack & 0xff), outR16(spl), ldiR16(stack >> 8), outR16(sph)];
  const target = loaderStart / 2;
  if (flashBytes > smallestWithJmp) words.push(0x940c | (target >> 16), target & 0xffff);
  else words.push(rjmp(words.length, target));
  const page = Buffer.alloc(pageBytes);
  for (let at = 0; at < pageBytes / 2; at += 1) {
    // Wherever else it is entered it goes to its beginning.
    page.writeUInt16LE(words[at] ?? rjmp(at, 0), at * 2);
  }
  return page;
};

const cli = 0x94f8;
const spl = 0x3d;
const sph = 0x3e;
/** There is RAM on every part. */
const stack = 0x03ff;
/** Parts up to here have no JMP, and RJMP reaches all of their flash, around its end. */
const smallestWithJmp = 8 * 1024;

const ldiR16 = (value: number): number => 0xe000 | ((value & 0xf0) << 4) | (value & 0x0f);
const outR16 = (register: number): number => 0xb900 | ((register & 0x30) << 5) | (register & 0x0f);
const rjmp = (from: number, to: number): number => 0xc000 | ((to - from - 1) & 0xfff);
