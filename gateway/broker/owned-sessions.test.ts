import t from 'tap';
import { OwnedSessions } from './owned-sessions.js';

const session = (clientId: string, device: string | null = null) => ({ clientId, device });

t.test('finds the sessions of a device, and those of a service', async (t) => {
  const sessions = new OwnedSessions();
  const pump = session('pump', 'pump');
  const console = session('pump:console', 'pump');
  const meter = session('service/meter/pump');
  const other = session('service/other/pump');
  for (const one of [pump, console, meter, other]) sessions.set(one);
  t.same(sessions.ofDevice('pump'), [pump, console]);
  t.same(sessions.sharingOwnerOf(meter), [meter]);
  t.same([...sessions.all()], [pump, console, meter, other]);
  sessions.delete(pump);
  t.same(sessions.sharingOwnerOf(console), [console]);
  t.equal(sessions.get('pump'), undefined);
  t.same(sessions.ofDevice('press'), []);
});

t.test('one in the place of another is the only one of its client id', async (t) => {
  const sessions = new OwnedSessions();
  const first = session('pump', 'pump');
  const second = session('pump', 'pump');
  sessions.set(first);
  sessions.set(second);
  t.same(sessions.ofDevice('pump'), [second]);
  sessions.delete(first);
  t.equal(sessions.get('pump'), second, 'the one before takes nobody along');
});
