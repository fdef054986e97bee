import { ManualClock } from '@holdfast/provisioning/time/manual-clock';
import t from 'tap';
import { PairingWindow, pairingMs } from './pairing-window.js';

const begin = ({ isRequired = true, isFenced = false } = {}) => {
  const clock = new ManualClock();
  const committed: unknown[] = [];
  const window = new PairingWindow(
    {
      clock,
      site: { commit: async (write) => void committed.push(write) },
      fence: {
        check: () => {
          if (isFenced) throw new Error('fenced');
        },
      },
    },
    { isRequired },
  );
  return { window, clock, committed };
};

const enrol = async (): Promise<string> => 'enrolled';

t.test('without such a button the certificate of a manufacturer is enough', async (t) => {
  const { window } = begin({ isRequired: false });
  t.equal(await window.admit(enrol), 'enrolled');
});

t.test(
  'with one, a press lets one device in, for two minutes, and is in the journal',
  async (t) => {
    const { window, clock, committed } = begin();
    await t.rejects(window.admit(enrol), { code: 'MANUFACTURER_REFUSED', message: /press/ });
    await window.press('front');
    t.ok(window.isOpen);
    t.match(JSON.stringify(committed), /pairing_opened.*front/);
    clock.advance(pairingMs - 1);
    t.equal(await window.admit(enrol), 'enrolled');
    t.notOk(window.isOpen);
    await t.rejects(window.admit(enrol), { code: 'MANUFACTURER_REFUSED' }, 'one device a press');
    await window.press('front');
    clock.advance(pairingMs);
    await t.rejects(window.admit(enrol), { code: 'MANUFACTURER_REFUSED' }, 'too late');
  },
);

t.test('a contact that chatters neither prolongs it nor fills the journal', async (t) => {
  const { window, clock, committed } = begin();
  await Promise.all([window.press('front'), window.press('front')]);
  clock.advance(pairingMs / 2);
  await window.press('front');
  t.equal(committed.length, 1);
  clock.advance(pairingMs / 2);
  t.notOk(window.isOpen);
});

t.test('an enrolment that fails leaves it open, and nobody comes in beside it', async (t) => {
  const { window } = begin();
  await window.press('front');
  let refuse: (error: Error) => void = () => undefined;
  const failing = window.admit(
    () =>
      new Promise<never>((_, reject) => {
        refuse = reject;
      }),
  );
  await t.rejects(window.admit(enrol), { code: 'MANUFACTURER_REFUSED' });
  refuse(new Error('the disk is full'));
  await t.rejects(failing, /full/);
  t.equal(await window.admit(enrol), 'enrolled');
});

t.test('a gateway that does not own its site opens nothing', async (t) => {
  const { window } = begin({ isFenced: true });
  await t.rejects(window.press('front'), /fenced/);
  t.notOk(window.isOpen);
});
