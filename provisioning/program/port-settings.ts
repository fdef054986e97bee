/** A listener that cannot be opened says which setting named its port, and who has it. */
import { HoldfastError } from '@holdfast/protos/errors/holdfast-error';
import { portHolder } from './port-holder.js';

interface Reason {
  readonly code: 'EADDRINUSE' | 'EACCES' | 'EADDRNOTAVAIL';
  readonly port: number | undefined;
}

/** Does what opens listeners; `ports` are those it opens by their setting. Errors: PORT_UNAVAILABLE. */
export const openingPorts = async <T>(
  ports: Readonly<Record<string, number>>,
  open: () => Promise<T>,
): Promise<T> => {
  try {
    return await open();
  } catch (error) {
    const reason = reasonOf(error);
    if (reason === undefined) throw error;
    const named = Object.entries(ports).find(([, port]) => port === reason.port);
    const [setting, port] = named ?? Object.entries(ports)[0] ?? ['the port', 0];
    throw new HoldfastError('PORT_UNAVAILABLE', await explain(setting, port, reason.code), {
      cause: error,
      data: { setting, port, next: nextSteps[reason.code](setting) },
    });
  }
};

const explain = async (setting: string, port: number, code: Reason['code']): Promise<string> => {
  if (code === 'EACCES') return `${setting}: port ${port} is one that only root may take`;
  if (code === 'EADDRNOTAVAIL') return `${setting}: this machine does not have that address`;
  const holder = await portHolder(port).catch(() => undefined);
  const who = holder === undefined ? 'another program' : `${holder.name} (process ${holder.pid})`;
  return `${setting}: port ${port} is taken by ${who}`;
};

const nextSteps: Record<Reason['code'], (setting: string) => string> = {
  EADDRINUSE: (setting) => `end that program, or choose another port with ${setting}`,
  EACCES: (setting) => `choose a port from 1024 on with ${setting}`,
  EADDRNOTAVAIL: () => 'choose an address of this machine with listen.host, or 0.0.0.0 for all',
};

/** grpc-js gives what went wrong as words alone. */
const reasonOf = (error: unknown): Reason | undefined => {
  if (!(error instanceof Error)) return undefined;
  const { code, port } = error as NodeJS.ErrnoException & { port?: number };
  const found = /\b(EADDRINUSE|EACCES|EADDRNOTAVAIL)\b/.exec(`${code ?? ''} ${error.message}`)?.[1];
  // A file that may not be read is no port.
  if (found === undefined || !/\b(listen|bind)\b/.test(error.message)) return undefined;
  return { code: found as Reason['code'], port };
};
