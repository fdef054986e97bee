/** Hands each connection, when its CONNECT is there, to who speaks its version: Aedes for MQTT 3.1 and 3.1.1, our own client for MQTT 5. */
import type { ClientStream } from './client-stream.js';
import type { Connection } from './connection.js';
import type { Mqtt5Limits } from './mqtt5/connect.js';
import { Mqtt5Client } from './mqtt5/mqtt5-client.js';
import type { Mqtt5Dependencies } from './mqtt5/peer.js';
import { versionOf } from './packet-guard.js';
import { openProtocol, type Protocol } from './protocol.js';
import type { PersistenceDependencies } from './site-persistence.js';

export interface ProtocolsDependencies extends Mqtt5Dependencies {
  readonly persistence: PersistenceDependencies;
}

export async function openProtocols(
  deps: ProtocolsDependencies,
  limits: Mqtt5Limits,
): Promise<Protocol<Connection>> {
  const { persistence, hooks } = deps;
  const mqtt3 = await openProtocol(persistence, hooks);

  const accept = (connection: Connection, stream: ClientStream): void => {
    const onClose = (): void => hooks.gone(connection, false);
    const onReadable = (): void => {
      const connect = stream.read();
      if (connect === null) return;
      stream.off('readable', onReadable);
      stream.off('close', onClose);
      if (versionOf(connect) === 5) {
        stream.becomeMqtt5();
        void new Mqtt5Client(deps, limits, connection, stream).begin(connect);
      } else {
        mqtt3.accept(connection, stream);
        stream.unread(connect);
      }
    };
    stream.once('close', onClose);
    stream.on('readable', onReadable);
  };

  return { accept, close: () => mqtt3.close() };
}
