/** QoS 2 messages that came from a client and whose PUBREL did not, by packet id: those stored, and those that are about to be. */
export class Inbox {
  readonly #packets = new Map<number, Promise<boolean>>();

  get size(): number {
    return this.#packets.size;
  }

  has(packetId: number): boolean {
    return this.#packets.has(packetId);
  }

  /** One that is stored already. */
  add(packetId: number): void {
    this.#packets.set(packetId, Promise.resolve(true));
  }

  /** One that has just come; to be called with whether it could be stored. If not, the packet id is free again. */
  receive(packetId: number): (isStored: boolean) => void {
    let settle: (isStored: boolean) => void = () => undefined;
    const settled = new Promise<boolean>((resolve) => {
      settle = resolve;
    });
    this.#packets.set(packetId, settled);
    return (isStored) => {
      if (!isStored && this.#packets.get(packetId) === settled) this.#packets.delete(packetId);
      settle(isStored);
    };
  }

  /** Whether it is stored, as soon as that is known. */
  settled(packetId: number): Promise<boolean> {
    return this.#packets.get(packetId) ?? Promise.resolve(false);
  }

  delete(packetId: number): boolean {
    return this.#packets.delete(packetId);
  }

  clear(): void {
    this.#packets.clear();
  }
}
