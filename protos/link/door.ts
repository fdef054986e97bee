/** How a device is spoken to: the native topics, the older set `devices/{id}/…`, a serial line, AWS IoT's topics, or hawkBit's DDI. */
import * as v from 'valibot';

export const doors = ['native', 'devices', 'serial', 'aws', 'ddi'] as const;
export type Door = (typeof doors)[number];
export const doorName = v.picklist(doors);
