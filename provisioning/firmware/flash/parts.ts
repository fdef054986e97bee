/**
 * The parts that Holdfast writes through a boot loader. Sources: Microchip's datasheets (chapters "Memory Programming" and "Boot Loader
 * Support") and avrdude.conf 7.1, which agree.
 *
 * Errors: FLASH_PART_UNKNOWN.
 */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { nearestName } from '../../program/nearest-name.js';
import type { AvrPart, LoaderProtocolName, Part } from './part.js';

const kb = 1024;

/** The fuses BOOTSZ double the section of the boot loader three times. */
const avr = (
  name: string,
  signature: string,
  flashKb: number,
  pageBytes: number,
  smallestBootBytes: number,
): AvrPart => ({
  family: 'avr',
  name,
  signature,
  flashBytes: flashKb * kb,
  pageBytes,
  bootBytes: [1, 2, 4, 8].map((times) => times * smallestBootBytes),
});

export const avrParts: readonly AvrPart[] = [
  avr('atmega8', '1e9307', 8, 64, 256),
  avr('atmega88', '1e930a', 8, 64, 256),
  avr('atmega88p', '1e930f', 8, 64, 256),
  avr('atmega168', '1e9406', 16, 128, 256),
  avr('atmega168p', '1e940b', 16, 128, 256),
  avr('atmega328', '1e9514', 32, 128, 512),
  avr('atmega328p', '1e950f', 32, 128, 512),
  avr('atmega32', '1e9502', 32, 128, 512),
  avr('atmega64', '1e9602', 64, 256, 1024),
  avr('atmega128', '1e9702', 128, 256, 1024),
  avr('atmega640', '1e9608', 64, 256, 1024),
  avr('atmega644p', '1e960a', 64, 256, 1024),
  avr('atmega1280', '1e9703', 128, 256, 1024),
  avr('atmega1284p', '1e9705', 128, 256, 1024),
  avr('atmega2560', '1e9801', 256, 256, 1024),
  avr('atmega2561', '1e9802', 256, 256, 1024),
];

/** By the name that avrdude has for it ("ATmega328P", in any case); behind MCUboot any name is one. */
export const partNamed = (protocol: LoaderProtocolName, name: string): Part => {
  if (protocol === 'mcuboot-smp') return { family: 'mcuboot', name };
  const part = avrParts.find((candidate) => candidate.name === name.toLowerCase());
  if (part !== undefined) return part;
  throw new HoldfastError('FLASH_PART_UNKNOWN', noSuchPart(name), { data: { part: name } });
};

/** With what may have been meant, avrdude's short names ("m328p") among it, else with every name there is. */
export const noSuchPart = (name: string): string => {
  const names = avrParts.map((part) => part.name);
  const near = nearestName(name.replace(/^m(?=\d)/i, 'atmega'), names);
  const hint = near === undefined ? `; known: ${names.join(', ')}` : `: do you mean "${near}"?`;
  return `No part is called "${name}"${hint}`;
};
