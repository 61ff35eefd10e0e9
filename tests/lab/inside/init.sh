#!/bin/bash
# A guest's init: file systems, devices, networks, the agent; nothing else runs here.
# The kernel's command line has lab.name, lab.number and lab.role.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
for word in $(< /proc/cmdline); do
  case $word in lab.*=*) declare "${word/lab./lab_}";; esac
done
mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/lock /run/vastsky /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf fd/0 /dev/stdin; ln -sf fd/1 /dev/stdout; ln -sf fd/2 /dev/stderr
hostname "$lab_name"
echo "127.0.0.1 localhost $lab_name" > /etc/hosts

modprobe -a virtio_net virtio_rng dm-mod ext4
mount -t ext4 -o noatime /dev/vdb /var/lib/vastsky

sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 kernel.panic=-1 \
  net.ipv6.conf.all.disable_ipv6=1
ip link set lo up
for place in 0 1 2; do
  ip address add "10.77.$place.$lab_number/24" dev "eth$place"
  ip link set "eth$place" up
done
# Commands come over addresses that the cluster does not know.
ip address add "10.77.9.$lab_number/24" dev eth0
python3 /src/tests/lab/inside/command_server.py "10.77.9.$lab_number" 7700 > /run/command_server.log 2>&1 &

/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-match=block --subsystem-match=net --subsystem-match=misc
udevadm settle --timeout=60
if [ "$lab_role" = head ]; then
  modprobe nbd nbds_max=64
  iscsid
else
  # The second disk can be told to fail: it is a table of the device mapper, which can be changed.
  dmsetup create disk-2 --table "0 $(blockdev --getsz /dev/vdd) linear /dev/vdd 0"
fi
read -r up _ < /proc/uptime
echo "ready after $up s" > /dev/console

# As a service manager would: started again whenever it ends, unless a person says not to.
cd /src || exit 1
export PYTHONDONTWRITEBYTECODE=1
while :; do
  while [ -e /run/no-agent ]; do sleep 0.5; done
  python3 -m agents "$lab_role" --config /var/lib/vastsky/agent.toml >> /var/lib/vastsky/agent.log 2>&1
  sleep 1
done &
# Processes that lost their parents end here.
while :; do wait -n || sleep 1; done
