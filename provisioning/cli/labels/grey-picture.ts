/** Pictures in tests: shades of grey, as readers of QR codes and `pdftoppm` have them. */
import jsQr from 'jsqr';

export interface GreyPicture {
  readonly width: number;
  readonly height: number;
  /** A byte a pixel; 0 is black. */
  readonly pixels: Uint8Array;
}

/** A part of it, measured in pixels. */
export const crop = (
  picture: GreyPicture,
  area: {
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
  },
): GreyPicture => {
  const x = Math.round(area.x);
  const y = Math.round(area.y);
  const width = Math.round(area.width);
  const height = Math.round(area.height);
  const pixels = new Uint8Array(width * height);
  for (let row = 0; row < height; row += 1) {
    const start = (y + row) * picture.width + x;
    pixels.set(picture.pixels.subarray(start, start + width), row * width);
  }
  return { width, height, pixels };
};

/** What the QR code in it says, by a reader that shares nothing with the writer; undefined when it finds none. */
export const readQr = ({ width, height, pixels }: GreyPicture): string | undefined => {
  const rgba = new Uint8ClampedArray(pixels.length * 4);
  for (const [index, grey] of pixels.entries()) rgba.set([grey, grey, grey, 255], index * 4);
  // Published as CommonJS: what its types call the default export is a property of it.
  const read = jsQr as unknown as { readonly default: typeof jsQr.default };
  return read.default(rgba, width, height, { inversionAttempts: 'dontInvert' })?.data;
};

/** PGM in its binary form (netpbm's P5). */
export const parsePgm = (file: Buffer): GreyPicture => {
  const head = /^P5\s+(\d+)\s+(\d+)\s+255\s/.exec(file.subarray(0, 64).toString('latin1'));
  if (head === null) throw new TypeError('no PGM');
  const [whole, width, height] = head;
  return { width: Number(width), height: Number(height), pixels: file.subarray(whole.length) };
};

/** Rows of modules, true for dark, each as a square of pixels. */
export const pictureOf = (rows: readonly (readonly boolean[])[], scale = 4): GreyPicture => {
  const width = (rows[0]?.length ?? 0) * scale;
  const pixels = new Uint8Array(width * rows.length * scale).fill(255);
  for (const [y, row] of rows.entries()) {
    for (const [x, isDark] of row.entries()) {
      if (!isDark) continue;
      for (let line = 0; line < scale; line += 1) {
        const start = (y * scale + line) * width + x * scale;
        pixels.fill(0, start, start + scale);
      }
    }
  }
  return { width, height: rows.length * scale, pixels };
};
