/**
 * What the routes of the HTTP doors let one do, and who holds each right. A route names its right; one that none of these fits needs a
 * row here before it can be written.
 */
import { type Role, roles } from '@holdfast/protos/local/people';

/**
 * `anyone`: what is asked carries its own proof (a code, a password). `url`: a device, or whoever has an address that was signed for one. `target`: a device, or whoever
 * has a token that was made for one.
 * A role: whoever has that one or a later one.
 */
type Holder = 'anyone' | 'device' | 'target' | 'url' | Role;

const holders = {
  /** Enrolment judges the code or the manufacturer's certificate itself. */
  enrol: 'anyone',
  'est.read': 'anyone',
  'est.enrol': 'anyone',
  'est.renew': 'device',
  'crl.read': 'anyone',
  'firmware.download': 'url',
  'firmware.metadata': 'device',
  'ddi.use': 'target',
  'session.open': 'anyone',
  'session.close': 'viewer',
  'site.read': 'viewer',
  'shadow.write': 'technician',
  'clock.set': 'technician',
  'command.send': 'technician',
  /** What devices and gateway say to each other on a line, whatever it is. */
  'serial.monitor': 'technician',
  /** Reads on a bus take time from its polling. */
  'modbus.ask': 'technician',
  'firmware.pin': 'technician',
  'device.flash': 'technician',
  'campaign.control': 'technician',
  'updates.stop': 'technician',
  'device.claim': 'technician',
  'device.token': 'technician',
  'device.revoke': 'technician',
  'device.lifecycle': 'technician',
  'user.read': 'installer',
  'user.manage': 'installer',
  'site.configure': 'installer',
} as const satisfies Readonly<Record<string, Holder>>;

export type Right = keyof typeof holders;

export const rights = Object.keys(holders) as readonly Right[];

export const holderOf = (right: Right): Holder | undefined =>
  // A right comes from a route of this program; what is none is nobody's.
  Object.hasOwn(holders, right) ? holders[right] : undefined;

export const includesRole = (held: Role, needed: Role): boolean =>
  roles.indexOf(held) >= roles.indexOf(needed);
