/** What dpkg runs at installation, upgrade and removal (Debian Policy, chapter 6). Each may be run twice. */
import { serviceName } from '../service/units.js';
import { installed } from './installed.js';

const { user, dataDir, etc, share } = installed;

export const postinst = `#!/bin/sh
set -e
if [ "$1" = configure ]; then
  if ! getent passwd ${user} >/dev/null; then
    useradd --system --user-group --home-dir ${dataDir} --no-create-home --shell /usr/sbin/nologin ${user}
  fi
  for group in dialout gpio; do
    if getent group $group >/dev/null; then usermod -aG $group ${user}; fi
  done
  mkdir -p ${dataDir} ${etc}
  chown ${user}:${user} ${dataDir}
  chmod 0700 ${dataDir}
  if [ ! -e ${etc}/site.yaml ]; then
    install -m 0640 -o root -g ${user} ${share}/site.example.yaml ${etc}/site.yaml
  fi
  deb-systemd-helper unmask ${serviceName} >/dev/null || true
  if deb-systemd-helper --quiet was-enabled ${serviceName}; then
    deb-systemd-helper enable ${serviceName} >/dev/null || true
  fi
  if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
    if [ -n "$2" ]; then deb-systemd-invoke restart ${serviceName} >/dev/null || true
    else deb-systemd-invoke start ${serviceName} >/dev/null || true; fi
  fi
  if [ -z "$2" ]; then
    echo "Holdfast gateway is installed. Next, with the code of its site:"
    echo "  sudo holdfast gateway doctor --code CODE"
    echo "  sudo holdfast gateway enroll CODE"
  fi
fi
`;

export const prerm = `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  deb-systemd-invoke stop ${serviceName} >/dev/null || true
fi
`;

export const postrm = `#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
fi
case "$1" in
  remove)
    if command -v deb-systemd-helper >/dev/null; then
      deb-systemd-helper mask ${serviceName} >/dev/null || true
    fi
    ;;
  purge)
    # The keys of the site go with it: a gateway that comes back enrols anew.
    rm -rf ${dataDir} ${etc}
    if command -v deb-systemd-helper >/dev/null; then
      deb-systemd-helper purge ${serviceName} >/dev/null || true
      deb-systemd-helper unmask ${serviceName} >/dev/null || true
    fi
    if getent passwd ${user} >/dev/null; then userdel ${user} || true; fi
    ;;
esac
`;
