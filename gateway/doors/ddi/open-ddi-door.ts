/** Opens hawkBit's device interface: what its routes need of the gateway, and how refusals of its clients are told. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { FirmwareCache } from '../../firmware/firmware-cache.js';
import { AttemptLimit } from '../../trust/attempt-limit.js';
import type { Route } from '../local/routes.js';
import { DdiDoor, type DdiDoorDeps, type DdiDoorOptions } from './ddi-door.js';
import { challenge, type DdiRoutesDeps, type DdiRoutesOptions, ddiRoutes } from './ddi-routes.js';
import { ImageDigests } from './image-digests.js';

export interface OpenDdiDoorDeps
  extends Omit<DdiDoorDeps, 'digests'>,
    Omit<DdiRoutesDeps, 'door' | 'digests' | 'devices'> {
  readonly firmware: Pick<FirmwareCache, 'get'>;
  readonly onClose: (name: string, close: () => Promise<void> | void) => void;
}

export const openDdiDoor = (
  deps: OpenDdiDoorDeps,
  options: DdiDoorOptions & DdiRoutesOptions,
): readonly Route[] => {
  const digests = new ImageDigests(deps);
  const door = new DdiDoor({ ...deps, digests }, options);
  door.open();
  deps.onClose('device interface of hawkBit', () => door.close());
  return ddiRoutes({ ...deps, door, digests }, options);
};

/** What a client is told that showed no token, or a wrong one: whoever guesses is slowed down, and learns nothing of which devices there are. */
export const ddiRefusals = (
  monotonic: () => number,
): ((address: string, hasShown: boolean) => HoldfastError) => {
  const failures = new AttemptLimit({ burst: 20, refillMs: 3_000 });
  return (address, hasShown) => {
    const retryAfterMs = failures.delayMs(address, monotonic());
    if (retryAfterMs > 0) {
      return new HoldfastError('TOO_MANY_ATTEMPTS', 'too many tokens that were wrong', {
        data: { retryAfterMs },
      });
    }
    if (hasShown) failures.failed(address, monotonic());
    return new HoldfastError(
      'NOT_AUTHENTICATED',
      hasShown ? 'this token is not one, or holds no longer' : 'this needs a token or certificate',
      { data: { challenge, next: 'holdfast --gateway device token ID' } },
    );
  };
};
