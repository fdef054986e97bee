/** Questions and answers of NTP (RFC 5905, figure 8): what a client sends is read, what a server says is written, and nothing else. */

export interface NtpQuestion {
  readonly version: number;
  /** Kept as it came: a client knows its question by it. */
  readonly transmitted: Buffer;
  readonly poll: number;
}

export interface NtpAnswer {
  /** Epoch ms; null where the time is not known. */
  readonly receivedAt: number;
  readonly sentAt: number;
  /** undefined: nobody is to take the time from here. */
  readonly clock: { readonly stratum: number; readonly errorMs: number } | undefined;
}

/** Without extensions and digests. An answer has as many bytes, so that no one is hit with more than was sent. */
const packetBytes = 48;
const clientMode = 3;
const serverMode = 4;
const alarm = 3;
/** From 1900-01-01, where NTP begins, to 1970-01-01, in seconds. */
const unixEpoch = 2_208_988_800;
/** About a microsecond, as a power of two of seconds. */
const precision = -20;

/** undefined for whatever is no question of a client: of all modes this is the only one that is answered. */
export const readQuestion = (packet: Buffer): NtpQuestion | undefined => {
  if (packet.length < packetBytes) return undefined;
  const first = packet.readUInt8(0);
  const version = (first >> 3) & 7;
  if ((first & 7) !== clientMode || version < 1 || version > 4) return undefined;
  return { version, poll: packet.readInt8(2), transmitted: packet.subarray(40, 48) };
};

export const writeAnswer = (question: NtpQuestion, { receivedAt, sentAt, clock }: NtpAnswer) => {
  const packet = Buffer.alloc(packetBytes);
  const leap = clock === undefined ? alarm : 0;
  packet.writeUInt8((leap << 6) | (question.version << 3) | serverMode, 0);
  // 0 is "unspecified": with the alarm it says that this clock was never set.
  packet.writeUInt8(clock?.stratum ?? 0, 1);
  packet.writeInt8(question.poll, 2);
  packet.writeInt8(precision, 3);
  packet.writeUInt32BE(shortOf(clock?.errorMs ?? 0), 8);
  // The kiss code INIT, or, of a server whose source has no address, that of a local clock.
  packet.write(clock === undefined ? 'INIT' : 'LOCL', 12, 'latin1');
  if (clock !== undefined) writeTime(packet, 16, receivedAt);
  question.transmitted.copy(packet, 24);
  writeTime(packet, 32, receivedAt);
  writeTime(packet, 40, sentAt);
  return packet;
};

/** Seconds as 16.16 bits. */
const shortOf = (ms: number): number =>
  Math.min(0xffff_ffff, Math.ceil((Math.max(0, ms) / 1_000) * 65_536));

/** Seconds since 1900 as 32.32 bits; the seconds begin anew every 136 years (RFC 5905, 6). */
const writeTime = (packet: Buffer, offset: number, epochMs: number): void => {
  const seconds = Math.floor(epochMs / 1_000);
  const fraction = (epochMs - seconds * 1_000) / 1_000;
  packet.writeUInt32BE((seconds + unixEpoch) % 2 ** 32, offset);
  packet.writeUInt32BE(Math.floor(fraction * 2 ** 32), offset + 4);
};
