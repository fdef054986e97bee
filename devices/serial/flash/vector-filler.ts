/**
 * What stands in the reset vector's page while the rest of the flash is written: jumps back to the boot loader, one after the other, so
 * that no start of the application ever runs half an image.
 */

/** A page of jumps to `loaderStart` (a byte address). */
export const vectorFiller = (
  pageBytes: number,
  { loaderStart, flashBytes }: { readonly loaderStart: number; readonly flashBytes: number },
): Buffer => {
  const page = Buffer.alloc(pageBytes);
  const target = loaderStart / 2;
  if (flashBytes > smallestWithJmp) {
    // JMP k: 1001 010k kkkk 110k, then k15..k0 (AVR instruction set manual); at most 128 K words, so k21..k17 are 0.
    const opcode = 0x940c | (target >> 16);
    for (let at = 0; at < pageBytes; at += 4) {
      page.writeUInt16LE(opcode, at);
      page.writeUInt16LE(target & 0xffff, at + 2);
    }
    return page;
  }
  // RJMP k: 1100 kkkk kkkk kkkk, relative to the next word, and around the end of 4 K words.
  for (let at = 0; at < pageBytes; at += 2) {
    page.writeUInt16LE(0xc000 | ((target - at / 2 - 1) & 0xfff), at);
  }
  return page;
};

/** Parts up to here have no JMP. */
const smallestWithJmp = 8 * 1024;
