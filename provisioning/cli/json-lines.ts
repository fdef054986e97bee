/** JSON values that come one a line, on a stream that may go on for ever. */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

/** Ends with the stream and destroys it when it is left before. Errors: REQUEST_INVALID for a line that is none or has no end. */
export async function* jsonLines(stream: Readable, maxLineBytes: number): AsyncGenerator<unknown> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + decoder.write(chunk as Buffer)).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > maxLineBytes) {
      throw new HoldfastError('REQUEST_INVALID', 'a line of the answer has no end');
    }
    for (const line of lines) if (line !== '') yield parse(line);
  }
  if (rest !== '') yield parse(rest);
}

const parse = (line: string): unknown => {
  try {
    return JSON.parse(line) as unknown;
  } catch (cause) {
    throw new HoldfastError('REQUEST_INVALID', 'a line of the answer is no JSON', { cause });
  }
};
