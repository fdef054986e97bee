/** What a subscriber gets, written as MQTT 3.1.1 bytes in one piece. */

export interface PublishFields {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly dup: boolean;
  /** For QoS above 0. */
  readonly packetId?: number;
  /** Left out here: for MQTT 5. */
  readonly properties?: Uint8Array | undefined;
  readonly expiresAt?: number | undefined;
}

/** Everything of a PUBLISH before its payload. */
export const publishHead = (fields: PublishFields): Buffer => {
  const topicBytes = Buffer.byteLength(fields.topic);
  const remaining = 2 + topicBytes + (fields.qos > 0 ? 2 : 0) + fields.payload.length;
  const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4;
  const head = Buffer.allocUnsafe(1 + lengthBytes + remaining - fields.payload.length);
  head[0] = 0x30 | (fields.dup ? 8 : 0) | (fields.qos << 1) | (fields.retain ? 1 : 0);
  let at = 1;
  for (let rest = remaining; ; rest >>>= 7) {
    head[at] = rest < 128 ? rest : (rest & 127) | 128;
    at += 1;
    if (rest < 128) break;
  }
  head.writeUInt16BE(topicBytes, at);
  head.write(fields.topic, at + 2);
  if (fields.qos > 0) head.writeUInt16BE(fields.packetId ?? 0, at + 2 + topicBytes);
  return head;
};

export const pubrel = (packetId: number): Buffer =>
  Buffer.from([0x62, 2, packetId >> 8, packetId & 255]);
