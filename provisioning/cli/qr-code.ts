/** QR codes of what people carry: claim codes. */
import { encode } from 'uqr';
import { parseClaimCode } from '../pki/claim-code.js';

/** Rows of modules, true for dark; without the margin that a reader needs around it. */
export type QrCode = readonly (readonly boolean[])[];

/** Light modules that a reader needs on every side (ISO/IEC 18004). */
export const quietModules = 4;

/**
 * Of a claim code, in the form that takes the fewest modules: QR codes hold capitals and digits in 5.5 bits a sign, and case is
 * nothing to the code. Errors: CLAIM_CODE_INVALID.
 */
export const qrOfClaim = (code: string): QrCode => {
  const text = code.toUpperCase();
  parseClaimCode(text);
  return encode(text, { ecc: 'M', border: 0 }).data;
};

const black = '\u001b[30m';
const white = '\u001b[47m';
const reset = '\u001b[0m';

/**
 * Lines for a terminal, two rows of modules to a line. In colours it is dark on light whatever the terminal's own are; without, light
 * modules are drawn as blocks, which is right where the terminal is dark.
 */
export const qrLines = (qr: QrCode, { colours }: { readonly colours: boolean }): string[] => {
  const size = qr.length;
  const isDark = (row: number, column: number): boolean => qr[row]?.[column] === true;
  const lines: string[] = [];
  for (let row = -quietModules; row < size + quietModules; row += 2) {
    let line = '';
    for (let column = -quietModules; column < size + quietModules; column += 1) {
      const top = isDark(row, column) === colours;
      const bottom = isDark(row + 1, column) === colours;
      line += top ? (bottom ? '█' : '▀') : bottom ? '▄' : ' ';
    }
    lines.push(colours ? `${black}${white}${line}${reset}` : line);
  }
  return lines;
};
