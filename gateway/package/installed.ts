/** Where the package puts things. */
export const installed = {
  user: 'holdfast',
  lib: '/usr/lib/holdfast-gateway',
  share: '/usr/share/holdfast-gateway',
  etc: '/etc/holdfast',
  dataDir: '/var/lib/holdfast',
} as const;

/** Commands in /usr/bin: each runs with the package's own Node. */
export const commands: Readonly<Record<string, string>> = {
  'holdfast-gateway': 'gateway/bin/holdfast-gateway.js',
  holdfast: 'provisioning/bin/holdfast.js',
};

/** The data of the installed gateway is the default of the installed commands. */
export const wrapper = (script: string): string => `#!/bin/sh
export HOLDFAST_DATA="\${HOLDFAST_DATA:-${installed.dataDir}}"
exec ${installed.lib}/bin/node ${installed.lib}/${script} "$@"
`;

export const exampleSiteFile = `# The configuration of this gateway. Everything has a default; what stands here counts after:
#   sudo holdfast site plan       shows what would change
#   sudo holdfast site apply      takes it, and goes back if the gateway is not healthy with it
# yaml-language-server: $schema=${installed.share}/site.schema.json

# names:
#   hosts: [gateway.plant.example]     # beside the names and addresses of this machine
# serial:
#   lines:
#     - device: press-1
#       path: /dev/serial/by-id/usb-FTDI_USB-RS485-if00-port0
#       baudRate: 115200
# gpio:
#   lines:
#     - {name: front, chip: gpiochip0, line: 17, role: status-led}
# link:
#   proxy: http://proxy.plant.example:3128
#   proxyCredentialsFile: /etc/holdfast/proxy-credentials
`;
