/** Asks for a password without showing it, and without it standing in a command line, which others can read. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

/** From the terminal, or, where there is none, the first line of standard input. Errors: REQUEST_INVALID when there is nothing. */
export const readPassword = async (prompt: string, signal: AbortSignal): Promise<string> => {
  const isTerminal = process.stdin.isTTY === true;
  if (isTerminal) process.stderr.write(`${prompt}: `);
  const lines = createInterface({ input: process.stdin, output: nowhere(), terminal: isTerminal });
  try {
    const password = isTerminal
      ? await lines.question('', { signal })
      : (await lines[Symbol.asyncIterator]().next()).value;
    if (typeof password === 'string' && password !== '') return password;
    throw new HoldfastError('REQUEST_INVALID', 'no password was given');
  } finally {
    lines.close();
    if (isTerminal) process.stderr.write('\n');
  }
};

/** What is typed is shown by nobody. */
const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });
