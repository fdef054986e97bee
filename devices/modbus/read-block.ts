/** Registers that are read in one request, and how a unit that refuses a block is asked for less at a time. Pure. */
import type { Register, RegisterKind, RegisterMap } from './register-map.js';

export interface ReadBlock {
  readonly kind: RegisterKind;
  readonly address: number;
  /** Coils or registers. */
  readonly count: number;
  readonly pollMs: number;
  readonly registers: readonly Register[];
}

/** Coils in one request, by the standard. */
const mostCoils = 2_000;

/** What stands close together and is polled alike is read together; in the order of addresses. */
export const planBlocks = ({
  registers,
  mostGap,
  mostRegisters,
}: Pick<RegisterMap, 'registers' | 'mostGap' | 'mostRegisters'>): readonly ReadBlock[] => {
  const groups = new Map<string, Register[]>();
  for (const register of registers) {
    const key = `${register.kind} ${register.pollS}`;
    groups.set(key, [...(groups.get(key) ?? []), register]);
  }
  return [...groups.values()].flatMap((group) => {
    const isBits = group[0]?.kind === 'coil' || group[0]?.kind === 'discrete';
    return gather(group, { mostGap, most: isBits ? mostCoils : mostRegisters });
  });
};

/** Smaller blocks for the same registers: without its gaps first, then each by itself; null when it can't be smaller. */
export const splitBlock = (block: ReadBlock): readonly ReadBlock[] | null => {
  const withoutGaps = gather(block.registers, { mostGap: 0, most: mostCoils });
  if (withoutGaps.length > 1) return withoutGaps;
  if (block.registers.length === 1) return null;
  // Bits of one register are no less together.
  const apart = gather(block.registers, { mostGap: 0, most: 1 });
  return apart.length > 1 ? apart : null;
};

/** The part of what a block brought that is a register's: two bytes each, or for a coil one that is 0 or 1. */
export const partOf = (block: ReadBlock, register: Register, bytes: Buffer): Buffer => {
  const at = register.address - block.address;
  return block.kind === 'coil' || block.kind === 'discrete'
    ? Buffer.of(((bytes[at >> 3] ?? 0) >> (at & 7)) & 1)
    : bytes.subarray(at * 2, (at + register.count) * 2);
};

const gather = (
  registers: readonly Register[],
  { mostGap, most }: { mostGap: number; most: number },
): ReadBlock[] => {
  const sorted = [...registers].sort((a, b) => a.address - b.address);
  const blocks: ReadBlock[] = [];
  for (const register of sorted) {
    const { address, count, kind, pollS } = register;
    const last = blocks.at(-1);
    const end = last === undefined ? 0 : Math.max(last.address + last.count, address + count);
    const fits =
      last !== undefined &&
      address - (last.address + last.count) <= mostGap &&
      (end - last.address <= most || end === last.address + last.count);
    if (fits) {
      const together = [...last.registers, register];
      blocks[blocks.length - 1] = { ...last, count: end - last.address, registers: together };
    } else blocks.push({ kind, address, count, pollMs: pollS * 1_000, registers: [register] });
  }
  return blocks;
};
