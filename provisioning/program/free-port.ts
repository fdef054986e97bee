/**
 * Ports of the loopback that nobody has, for programs that cannot pick one by themselves or have to come back on the same.
 *
 * They lie below those that Linux lends to outgoing connections (32768 and up): a connection of anybody, even one that asks in vain for
 * this very port while its server is away, would otherwise be given it, and the server not find it free again.
 */
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

const lowest = 10_240;
const firstLent = 32_768;
const mostAttempts = 1_000;

/** So many different ports. Somebody may take them before they are used. */
export const freePorts = async (count: number): Promise<number[]> => {
  const held = new Map<number, Server>();
  try {
    for (let attempt = 0; held.size < count; attempt += 1) {
      const port = randomInt(lowest, firstLent);
      const server = createServer().listen(port, '127.0.0.1');
      try {
        await once(server, 'listening');
        held.set(port, server);
      } catch (error) {
        // Somebody has it.
        if (attempt >= mostAttempts) throw error;
      }
    }
  } finally {
    const closed = [...held.values()].map((server) => once(server, 'close'));
    for (const server of held.values()) server.close();
    await Promise.all(closed);
  }
  return [...held.keys()];
};

export const freePort = async (): Promise<number> => {
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error('there is no free port');
  return port;
};
