/**
 * How a device is spoken to: the native topics, the older set `devices/{id}/…`, AWS IoT's topics, hawkBit's DDI, or a wire of the
 * gateway's own: a serial line, a Modbus, its inputs and relays.
 */
import * as v from 'valibot';

export const doors = ['native', 'devices', 'serial', 'aws', 'ddi', 'modbus', 'gpio'] as const;
export type Door = (typeof doors)[number];

/** Whether the gateway vouches for such a device by the wire it hangs on, and hands it what there is for it itself. */
export const isWired = (door: Door | null | undefined): door is 'serial' | 'modbus' | 'gpio' =>
  door === 'serial' || door === 'modbus' || door === 'gpio';
export const doorName = v.picklist(doors);
