/** The local API for serial lines: every line and port of the gateway, and what passes on a line. */
import { realpath } from 'node:fs/promises';
import { nameOf } from '@holdfast/devices/serial/port/find-port';
import { listSystemPorts } from '@holdfast/devices/serial/port/system-ports';
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import type { SerialAnswer, SerialPortRow } from '@holdfast/protos/local/serial';
import { serialLineRow } from '../serial/serial-line-row.js';
import type { SerialLines } from '../serial/serial-lines.js';
import type { SerialMonitors } from '../serial/serial-monitor.js';
import type { Route, RouteRequest } from './routes.js';

export interface SerialRoutesDeps {
  readonly lines: Pick<SerialLines, 'list' | 'find'>;
  readonly monitors: Pick<SerialMonitors, 'answer'>;
  readonly listPorts?: typeof listSystemPorts;
}

export const serialRoutes = ({
  lines,
  monitors,
  listPorts = listSystemPorts,
}: SerialRoutesDeps): readonly Route[] => {
  const list = async (): Promise<SerialAnswer> => {
    const status = lines.list();
    const ports = await listPorts();
    const used = new Map<string, string>();
    for (const { name, path } of status) {
      if (path !== null) used.set(await realpath(path).catch(() => path), name);
    }
    return {
      lines: status.map(serialLineRow),
      ports: ports.map(
        (port): SerialPortRow => ({
          path: port.path,
          address: nameOf(port, ports),
          driver: port.driver,
          usb:
            port.usb === null
              ? null
              : {
                  id: `${port.usb.vendor}:${port.usb.product}`,
                  serial: port.usb.serial,
                  title: port.usb.title,
                  socket: port.usb.socket,
                },
          line: used.get(port.path) ?? null,
        }),
      ),
    };
  };

  const monitor = async (request: RouteRequest): Promise<undefined> => {
    const name = request.params.get('line') ?? '';
    const line = lines.find(name);
    if (line === undefined) {
      throw new HoldfastError('RESOURCE_NOT_FOUND', `there is no serial line ${name} here`, {
        data: { next: 'holdfast --gateway serial list' },
      });
    }
    const direction = request.query.get('direction');
    if (direction !== null && direction !== 'in' && direction !== 'out') {
      throw new HoldfastError('REQUEST_INVALID', 'direction is in or out');
    }
    await monitors.answer(request, { line, direction });
    return undefined;
  };

  return [
    { method: 'GET', path: '/api/v1/serial', right: 'site.read', handle: list },
    {
      method: 'GET',
      path: '/api/v1/serial/lines/:line/monitor',
      right: 'serial.monitor',
      handle: monitor,
    },
  ];
};
