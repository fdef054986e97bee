/** The section `gpio` of a gateway's configuration. */
import { ioRoles, lineSettings } from '@holdfast/devices/gpio/line-settings';
import { list, optionalText, section } from '@holdfast/provisioning/program/settings';
import * as v from 'valibot';

export const panelRoles = ['status-led', 'restart-button', 'pairing-button'] as const;
export type PanelRole = (typeof panelRoles)[number];

const gpioLine = lineSettings([...panelRoles, ...ioRoles], {
  /** Of a restart button: what begins anew. */
  restarts: v.exactOptional(v.picklist(['gateway', 'machine'])),
});
export type GatewayGpioLine = v.InferOutput<typeof gpioLine>;

export const gpioSection = section(
  'GPIO lines of this machine that the gateway is given (needs the package gpiod; devices/gpio/README.md).',
  {
    device: optionalText({
      description:
        'Id of the device that the relays, inputs and counters of this machine are; to be said where there are any',
    }),
    lines: list(gpioLine, {
      description:
        'name, chip (its name or label), line (its number or name), role, activeLow (false) and bias (`as-is`, `pull-up`, `pull-down`) of each. Roles: `status-led` (on: all is well, slow: no control plane, fast: look at `holdfast --gateway status`, flickering: a device may join, off: it does not run), `restart-button` (held for 5 to 30 s: the gateway begins anew; or with `restarts: machine` all of it), `pairing-button` (pressed: for two minutes one device may join by the certificate of its manufacturer, which it then may at no other time), `relay` (safe: `on` or `off`, safeAfterS 60, minOnS 1, minOffS 1), `input` (debounceMs 20), `counter` (debounceMs 0, everyS 10), `reset` (pulseMs 100; for flashing)',
    }),
  },
);
