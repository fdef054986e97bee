/** A line that cannot be had, with what to do about it, by what the kernel or a tool says. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';

const nextSteps: readonly (readonly [said: RegExp, next: string])[] = [
  [
    /permission denied|EACCES|EPERM/i,
    'sudo usermod -aG gpio USER (the group of /dev/gpiochip0; plain Debian has none: a udev rule makes one), then start again',
  ],
  [/busy|EBUSY/i, 'gpioinfo says who has it; two cannot have one line'],
  [
    /no such (file|device)|cannot find|unable to find|ENOENT|not found|invalid argument|out of range/i,
    'gpiodetect and gpioinfo say which chips and lines there are',
  ],
];

export const gpioUnavailable = (message: string, cause?: unknown): HoldfastError => {
  const next = nextSteps.find(([said]) => said.test(message))?.[1];
  return new HoldfastError('GPIO_UNAVAILABLE', message, {
    ...(cause !== undefined && { cause }),
    ...(next !== undefined && { data: { next } }),
  });
};
