/** Crockford's base32: digits and letters without I, L, O and U, in lower case, most significant bit first. */

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

export const toBase32 = (bytes: Uint8Array): string => {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += alphabet[(value >> bits) & 31];
    }
    value &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + alphabet[(value << (5 - bits)) & 31];
};

/**
 * Reads what a person typed: any case, O as 0, I and L as 1. undefined for other signs and for a number of
 * signs, or a last sign, that no bytes come out as.
 */
export const fromBase32 = (text: string): Buffer | undefined => {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const sign of text.toLowerCase().replaceAll('o', '0').replace(/[il]/g, '1')) {
    const digit = alphabet.indexOf(sign);
    if (digit < 0) return undefined;
    value = (value << 5) | digit;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((value >> bits) & 255);
    }
    value &= (1 << bits) - 1;
  }
  return value === 0 && bits < 5 ? Buffer.from(bytes) : undefined;
};
