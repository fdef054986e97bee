/** Simulated units behind a TCP port, as a controller or a converter has them. For demos and tests. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { SimulatedUnit } from './simulated-unit.js';

export interface SimulatedTcpUnits {
  readonly port: number;
  /** Ends every connection, and takes no other. */
  close(): Promise<void>;
}

/** `framing: rtu` is what a converter does that hands its serial bus through. */
export const serveSimulatedUnits = async (
  units: readonly SimulatedUnit[],
  { port = 0, framing = 'tcp' }: { readonly port?: number; readonly framing?: 'tcp' | 'rtu' } = {},
): Promise<SimulatedTcpUnits> => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    // A request at a time, in one piece: that is how this master asks.
    socket.on('data', (request) => {
      for (const unit of units) {
        const answer = framing === 'rtu' ? unit.answerRtu(request) : answerTcp(unit, request);
        if (answer !== null) socket.write(answer);
      }
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    // Of a server that listens to a port.
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
};

const answerTcp = (unit: SimulatedUnit, request: Buffer): Buffer | null => {
  if (request.length < 8 || request[6] !== unit.unit) return null;
  const body = unit.answer(request.subarray(7));
  const header = Buffer.from(request.subarray(0, 7));
  header.writeUInt16BE(body.length + 1, 4);
  return Buffer.concat([header, body]);
};
