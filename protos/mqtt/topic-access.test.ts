import t from 'tap';
import { isFilterOfDevice, isTopicOfDevice } from './topic-access.js';

t.test('a topic is a device’s own only beneath its own id', async (t) => {
  for (const topic of [
    'dt/pi-1/telemetry/x',
    'dt/pi-1/x',
    'devices/pi-1/heartbeat',
    'dt/pi-1//',
    '$aws/things/pi-1/shadow/get',
  ]) {
    t.ok(isTopicOfDevice(topic, 'pi-1'), topic);
  }
  const others = [
    'dt/pi-10/telemetry/x',
    'dt/pi-/telemetry/x',
    'dt/pi-2/telemetry/x',
    'dt/pi-1',
    'dt/pi-1/',
    '/dt/pi-1/x',
    'DT/pi-1/x',
    'dt/+/x',
    'dt/pi-1/+',
    'dt/pi-1/#',
    'dt/pi-1/a\u0000b',
    '$SYS/dt/pi-1/x',
    '$aws/things/pi-2/shadow/get',
    '$aws/things/pi-1',
    '$aws/pi-1/x',
    '$share/g/dt/pi-1/x',
    '',
  ];
  for (const topic of others) t.notOk(isTopicOfDevice(topic, 'pi-1'), topic);
  t.notOk(isTopicOfDevice('dt//x', ''), 'nobody has the empty id');
});

t.test('a device subscribes beneath its own id, with well-formed wildcards there', async (t) => {
  const own = [
    'dt/pi-1/#',
    'dt/pi-1/shadow/+/accepted',
    'dt/pi-1/+',
    'dt/pi-1/+/+/#',
    'dt/pi-1/jobs/notify',
    'devices/pi-1/command',
    'devices/pi-1/#',
    '$aws/things/pi-1/shadow/get/+',
    '$aws/things/pi-1/#',
  ];
  for (const filter of own) t.ok(isFilterOfDevice(filter, 'pi-1'), filter);
  const refused = [
    '#',
    '+',
    '+/pi-1/#',
    'dt/#',
    'dt/+/shadow/#',
    'dt/pi-2/#',
    'dt/pi-1',
    'dt/pi-1/',
    'dt/pi-1#',
    'dt/pi-1/a#',
    'dt/pi-1/#/a',
    'dt/pi-1/a+',
    'dt/pi-1/+a',
    'dt/pi-1/\u0000',
    '$share/g/dt/pi-1/#',
    '$SYS/#',
    '$aws/#',
    '$aws/things/+/shadow/#',
    '$aws/+/pi-1/#',
    '$aws/things/pi-2/#',
    '$queue/dt/pi-1/#',
  ];
  for (const filter of refused) t.notOk(isFilterOfDevice(filter, 'pi-1'), filter);
});
