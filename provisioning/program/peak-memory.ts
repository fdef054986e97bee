import { readFileSync } from 'node:fs';

/**
 * The most memory that this process ever had resident, bytes. Not what `resourceUsage` says: a child inherits in that what its parent had
 * when it was started.
 */
export const peakMemory = (): number => {
  try {
    const status = readFileSync('/proc/self/status', 'utf8');
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? [];
    if (kibibytes !== undefined) return Number(kibibytes) * 1_024;
  } catch {
    // Elsewhere than on Linux.
  }
  return process.resourceUsage().maxRSS * 1_024;
};
