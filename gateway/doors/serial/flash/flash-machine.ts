/**
 * What the flashing of a line does next: a pure function of what is committed and what happened. What there is to do follows from the state
 * alone, so a gateway that was killed finds it there again. An event that says nothing to the present phase gives the very same state.
 */
import {
  type Damage,
  type Flash,
  type FlashEvent,
  type FlashOutcome,
  type FlashRun,
  type FlashState,
  isSameRun,
  type LineImage,
} from './flash-state.js';

type Event<T extends FlashEvent['type']> = Extract<FlashEvent, { type: T }>;
type Of<P extends Flash['phase']> = Extract<Flash, { phase: P }>;

export const next = (state: FlashState, event: FlashEvent): FlashState => {
  switch (event.type) {
    case 'offered':
      return offered(state, event);
    case 'checked':
      return state.flash.phase === 'checking'
        ? to(state, { ...state.flash, phase: 'waiting' })
        : state;
    case 'refused':
      return isUntouched(state.flash) ? settle(state, state.flash, 'failed', event.error) : state;
    case 'began':
      return began(state, event.former);
    case 'written':
      return written(state);
    case 'failed':
      return failed(state, event.error);
    case 'hello':
      return hello(state, event.version);
    case 'silent':
      return silent(state, event.restorable);
    case 'cancelling':
      return cancelling(state, event.run);
    case 'ended':
      return ended(state, event);
    case 'told':
      return state.flash.phase === 'settled' ? rest(state, state.flash.damage) : state;
  }
};

/** Who gets this image into the board now; null when nobody asked, or it is for the board's sake alone. */
export const runOf = ({ flash }: FlashState): FlashRun | null =>
  flash.phase === 'idle' ? null : flash.run;

/** What has to stay in the cache: what runs, and what may have to be written yet. */
export const imagesOf = ({ flash, running }: FlashState): readonly LineImage[] => {
  const own = 'image' in flash ? [flash.image] : [];
  const former = 'former' in flash && flash.former !== null ? [flash.former] : [];
  const mend = 'damage' in flash && flash.damage !== null ? [flash.damage.mend] : [];
  return [...(running === null ? [] : [running]), ...own, ...former, ...mend];
};

/** Whether the board is, or may be, half written or unproven: from there on nothing is to be in its way. */
export const isUnderWay = ({ flash }: FlashState): boolean =>
  flash.phase !== 'idle' && flash.phase !== 'checking' && flash.phase !== 'waiting';

const isUntouched = (flash: Flash): flash is Of<'checking' | 'waiting'> =>
  flash.phase === 'checking' || flash.phase === 'waiting';

const to = (state: FlashState, flash: Flash): FlashState => ({ ...state, flash });

/** Nobody wants anything: what is whole rests, what may be half is made whole. */
const rest = (state: FlashState, damage: Damage | null): FlashState =>
  to(
    state,
    damage === null
      ? { phase: 'idle' }
      : { phase: 'writing', run: null, image: damage.mend, former: null },
  );

const settle = (
  state: FlashState,
  of: { readonly run: FlashRun | null; readonly damage?: Damage | null },
  outcome: FlashOutcome,
  error: string,
): FlashState => {
  const { run, damage = null } = of;
  // Nobody waits to be told.
  if (run === null) return rest(state, damage);
  return to(state, { phase: 'settled', run, outcome, error: shorten(error), damage });
};

/** What it quotes may be long; a report takes no more. */
const shorten = (text: string): string => text.slice(0, 1_000);

const offered = (state: FlashState, { run, image }: Event<'offered'>): FlashState => {
  const { flash } = state;
  const check = (damage: Damage | null) => to(state, { phase: 'checking', run, image, damage });
  switch (flash.phase) {
    case 'idle':
      return check(null);
    case 'checking':
    case 'waiting':
      // Another attempt takes the place of the one before; a person is told that it is taken.
      return run.kind === 'hand' || isSameRun(flash.run, run) ? state : check(flash.damage);
    case 'writing':
      // What somebody wants is as good to mend a board with.
      return flash.run === null ? check(damageOf(flash)) : state;
    default:
      // It comes to its end in a bounded time, and then looks for what is open.
      return state;
  }
};

const damageOf = ({ image, former }: Of<'writing'>): Damage => ({ mend: former ?? image });

const began = (state: FlashState, running: LineImage | null): FlashState => {
  const { flash } = state;
  if (flash.phase !== 'waiting') return state;
  const { run, image, damage } = flash;
  const known = damage === null ? running : damage.mend;
  const former = known?.sha256 === image.sha256 ? null : known;
  return { flash: { phase: 'writing', run, image, former }, running: state.running };
};

const written = (state: FlashState): FlashState => {
  const { flash } = state;
  if (flash.phase === 'writing') return to(state, { ...flash, phase: 'proving', isUp: false });
  return flash.phase === 'restoring' ? to(state, { ...flash, phase: 'returning' }) : state;
};

const failed = (state: FlashState, error: string): FlashState => {
  const { flash } = state;
  switch (flash.phase) {
    case 'waiting':
      return settle(state, flash, 'failed', error);
    case 'writing':
      // For the board's sake alone it is tried for ever.
      return flash.run === null
        ? state
        : settle(state, { run: flash.run, damage: damageOf(flash) }, 'failed', error);
    case 'restoring': {
      const why = `${flash.why}; and what ran before could not be written: ${error}`;
      return settle(state, { run: flash.run, damage: { mend: flash.image } }, 'failed', why);
    }
    default:
      return state;
  }
};

const hello = (state: FlashState, version: string): FlashState => {
  const { flash } = state;
  switch (flash.phase) {
    case 'proving':
      if (version !== flash.image.version) {
        const error = `it was flashed with ${flash.image.version} and verified, but says it runs ${version}`;
        return settle({ ...state, running: null }, { run: flash.run }, 'failed', error);
      }
      if (flash.run?.kind === 'job')
        return flash.isUp ? state : to(state, { ...flash, isUp: true });
      return { flash: { phase: 'idle' }, running: flash.image };
    case 'restoring': {
      const { run, failed: image, image: former } = flash;
      if (version === former.version) return returned(state, flash, version);
      // It only took its time. But it spoke before its reset, and some of it may be written over by now: so it is made whole, and heard again.
      return version === image.version
        ? to(state, { phase: 'writing', run, image, former })
        : state;
    }
    case 'returning':
      return returned(state, flash, version);
    case 'writing':
      // The flash compares what is there, and goes on.
      return state;
    default:
      return state.running === null || state.running.version === version
        ? state
        : { ...state, running: null };
  }
};

const returned = (
  state: FlashState,
  { run, image, why }: Of<'restoring' | 'returning'>,
  version: string,
): FlashState => {
  const running = version === image.version ? image : null;
  return settle({ ...state, running }, { run }, 'rolled_back', why);
};

const silent = (state: FlashState, restorable: boolean): FlashState => {
  const { flash } = state;
  if (flash.phase === 'returning') {
    const error = `${flash.why}; ${flash.image.version}, which ran before, was written and said nothing either. Look at its power and its wiring`;
    return settle({ ...state, running: null }, { run: flash.run }, 'failed', error);
  }
  if (flash.phase !== 'proving' || flash.isUp) return state;
  const { run, image, former } = flash;
  const mute = `${image.version} was written and verified, and said no hello`;
  if (former !== null && restorable) {
    const why = `${mute}: ${former.version} is back`;
    return to(state, { phase: 'restoring', run, image: former, failed: image, why });
  }
  const missing = former === null ? 'is not known' : `(${former.version}) is not in the cache`;
  const error = `${mute}; what ran before ${missing}. Another release can be flashed`;
  return settle({ ...state, running: null }, { run }, 'failed', error);
};

const cancelling = (state: FlashState, run: FlashRun): FlashState => {
  const { flash } = state;
  if (!isUntouched(flash) || !isSameRun(flash.run, run)) return state;
  return settle(state, flash, 'cancelled', 'it was cancelled before anything was written');
};

const ended = (state: FlashState, { run, succeeded }: Event<'ended'>): FlashState => {
  const { flash } = state;
  if (flash.phase === 'idle' || !isSameRun(flash.run, run)) return state;
  switch (flash.phase) {
    case 'checking':
    case 'waiting':
    case 'settled':
      return rest(state, flash.damage);
    case 'proving':
      return succeeded || flash.isUp
        ? { flash: { phase: 'idle' }, running: flash.image }
        : to(state, { ...flash, run: null });
    default:
      // Half an image is worse than one that nobody wants.
      return to(state, { ...flash, run: null });
  }
};
