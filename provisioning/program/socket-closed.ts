/** Resolves when a socket is closed, by whomever and however; `once(socket, 'close')` rejects when the far end resets it. */
import type { EventEmitter } from 'node:events';

export const socketClosed = (socket: EventEmitter): Promise<void> =>
  new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
  });
