/** The switch of the quickstart's WAN: a socket in its data folder, so that `npm run wan cut` works from another terminal. */
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { withDeadline } from '../time/deadline.js';
import type { WanState } from './wan-proxy.js';

const states: readonly WanState[] = ['up', 'cut', 'stalled'];
const isState = (word: string): word is WanState => states.some((state) => state === word);

const pathIn = (dataDirectory: string): string => join(dataDirectory, 'wan.socket');

/** One word in, the state out. Nobody but the owner of the folder may speak to it. */
export const openWanSwitch = async (
  dataDirectory: string,
  wan: { readonly state: WanState; set(state: WanState): void },
): Promise<Server> => {
  const path = pathIn(dataDirectory);
  await rm(path, { force: true });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.setTimeout(5_000, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.once('data', (data) => {
      const word = data.toString('utf8', 0, 32).trim();
      if (isState(word)) wan.set(word);
      socket.end(`${wan.state}\n`);
    });
  });
  server.listen(path);
  await once(server, 'listening');
  await chmod(path, 0o600);
  return server;
};

/** Sets the WAN of the quickstart that runs on this folder; gives the state it has then. Errors: REQUEST_INVALID, CONNECTION_FAILED. */
export const switchWan = async (dataDirectory: string, word: string): Promise<string> => {
  if (word !== 'state' && !isState(word)) {
    throw new HoldfastError('REQUEST_INVALID', `say one of ${states.join(', ')}, or state`);
  }
  const socket = connect(pathIn(dataDirectory));
  try {
    return await withDeadline(
      async () => {
        await once(socket, 'connect');
        socket.end(`${word}\n`);
        return (await text(socket)).trim();
      },
      5_000,
      { doing: 'switching the WAN' },
    );
  } catch (error) {
    throw new HoldfastError('CONNECTION_FAILED', 'no quickstart runs here: npm start', {
      cause: error,
    });
  } finally {
    socket.destroy();
  }
};
