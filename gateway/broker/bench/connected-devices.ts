/** A thousand devices with certificates that connect over TLS and stay: what the bench weighs the gateway with. */
import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import type { TestFleet } from '@holdfast/provisioning/pki/test-fleet';
import { generate } from 'mqtt-packet';

/** Connections that share a certificate; the gateway's own limit for one device. */
const perCertificate = 16;

/** Resolves, once all are connected, with what ends them. */
export const connectDevices = async (
  { fleet, port }: { readonly fleet: TestFleet; readonly port: number },
  count: number,
): Promise<() => void> => {
  const sockets: TLSSocket[] = [];
  for (let from = 0; from < count; from += perCertificate) {
    const device = `bench-${from}`;
    const { tls } = await fleet.device(device);
    const suffixes = Array.from({ length: Math.min(perCertificate, count - from) }, (_, at) => at);
    const connectOne = async (suffix: number): Promise<void> => {
      const ca = fleet.root.certificate.pem;
      const socket = connect({ ...tls, ca, host: '127.0.0.1', port });
      sockets.push(socket);
      await once(socket, 'secureConnect');
      socket.write(
        generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: 4,
          clean: true,
          keepalive: 0,
          clientId: `${device}:${suffix}`,
        }),
      );
      const [connack] = (await once(socket, 'data')) as [Buffer];
      if (connack[3] !== 0) throw new Error(`${device} was refused with ${connack[3]}`);
    };
    await Promise.all(suffixes.map(connectOne));
  }
  return () => {
    for (const socket of sockets) socket.destroy();
  };
};
