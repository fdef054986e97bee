const quote = 34;
const backslash = 92;
const colon = 58;

/** AWS IoT: a longer one is refused. */
export const maxClientTokenBytes = 64;

export const isClientToken = (token: string): boolean =>
  Buffer.byteLength(token) <= maxClientTokenBytes;

/**
 * The client token of a request that is refused for its size, its depth or its grammar, and is therefore not parsed: whoever asked finds
 * the answer by it alone. One scan over the bytes, whatever their nesting. Undefined when there is none at the top, or none that is valid.
 */
export const clientTokenIn = (payload: Uint8Array): string | undefined => {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  let token: string | undefined;
  let depth = 0;
  let isAfterKey = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === quote) {
      const end = endOfText(bytes, at);
      if (end < 0) break;
      const follows = isBlank(bytes[end]) ? nextOf(bytes, end) : end;
      const isKey = bytes[follows] === colon;
      if (depth === 1 && isAfterKey && !isKey) token = textOf(bytes, at, end);
      isAfterKey = depth === 1 && isKey && textOf(bytes, at, end) === 'clientToken';
      at = isKey ? follows : end - 1;
      continue;
    }
    if (byte === 123 || byte === 91) depth += 1;
    else if (byte === 125 || byte === 93) depth -= 1;
    if (!isBlank(byte)) isAfterKey = false;
  }
  return token !== undefined && isClientToken(token) ? token : undefined;
};

/** Behind the closing quote of the text that begins at `start`; -1 when there is none. */
const endOfText = (bytes: Buffer, start: number): number => {
  for (let at = start + 1; at < bytes.length; at += 1) {
    if (bytes[at] === backslash) at += 1;
    else if (bytes[at] === quote) return at + 1;
  }
  return -1;
};

const nextOf = (bytes: Buffer, from: number): number => {
  let at = from;
  while (isBlank(bytes[at])) at += 1;
  return at;
};

/** Undefined when it is longer than any key or token that is meant here, escapes included. */
const textOf = (bytes: Buffer, start: number, end: number): string | undefined => {
  if (end - start > 6 * maxClientTokenBytes + 2) return undefined;
  try {
    const text: unknown = JSON.parse(bytes.toString('utf8', start, end));
    return typeof text === 'string' && text.isWellFormed() ? text : undefined;
  } catch {
    return undefined;
  }
};

const isBlank = (byte: number | undefined): boolean =>
  byte === 32 || byte === 9 || byte === 10 || byte === 13;
