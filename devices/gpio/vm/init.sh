#!/bin/sh
# The first program of the virtual machine: loads what /mod/order names, makes a chip of eight lines (4 is DOOR, 5 is LAMP), and runs the
# program of the kernel's command line (run=PATH node=PATH, and tools=PATH of newer tools than the host's own) over the host's own files,
# which it may read and not write.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/mod/$module" || echo "insmod $module failed"; done < /mod/order
mount -t configfs configfs /sys/kernel/config
chip=/sys/kernel/config/gpio-sim/board
mkdir -p $chip/bank/line4 $chip/bank/line5
echo 8 > $chip/bank/num_lines
echo pi-bank > $chip/bank/label
echo DOOR > $chip/bank/line4/name
echo LAMP > $chip/bank/line5/name
echo 1 > $chip/live
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /newroot
mount -t proc proc /newroot/proc
mount --rbind /sys /newroot/sys
mount --rbind /dev /newroot/dev
# A terminal would repeat every answer.
stty -F /dev/console raw -echo
for word in $(cat /proc/cmdline); do
  case $word in
  run=*) run=${word#run=} ;;
  node=*) node=${word#node=} ;;
  tools=*) tools=${word#tools=} ;;
  esac
done
echo "up since $(cut -d' ' -f1 /proc/uptime) s: Linux $(uname -r)"
chroot /newroot /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin NEWER_TOOLS="$tools" "$node" "$run" gpio-sim
poweroff -f
