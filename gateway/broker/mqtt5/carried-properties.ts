/** The identifiers of the subscriptions that a message goes by, added to the properties it carries. */
import { PacketWriter } from './packet-writer.js';
import { property } from './properties.js';

export const identified = (
  carried: Uint8Array | undefined,
  identifiers: readonly number[],
): Uint8Array => {
  const writer = new PacketWriter();
  for (const identifier of identifiers) {
    writer.byte(property.subscriptionIdentifier).varint(identifier);
  }
  return carried === undefined ? writer.taken() : Buffer.concat([carried, writer.taken()]);
};
