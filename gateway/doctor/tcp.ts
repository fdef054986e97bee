/** A TCP connection, told in words when there is none. */
import { connect, type Socket } from 'node:net';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export type OpenTcp = (to: Endpoint, signal: AbortSignal) => Promise<Socket>;

export const openDirectly: OpenTcp = ({ host, port }, signal) =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    const onAbort = (): void => {
      socket.destroy();
      reject(new Error('no answer'));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('error', reject);
      resolve(socket);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => reject(new Error(inWords(error))));
  });

const inWords = ({ code, message }: NodeJS.ErrnoException): string =>
  (code === undefined ? undefined : words[code]) ?? message;

const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused (nobody listens there, or a firewall says no)',
  EHOSTUNREACH: 'no way to that host',
  ENETUNREACH: 'this machine has no network that leads there',
  ENOTFOUND: 'the name is not known',
  EAI_AGAIN: 'the name server does not answer',
  ETIMEDOUT: 'no answer (a firewall that drops, or no WAN)',
  ECONNRESET: 'it was cut (a firewall that looks inside does so)',
};
