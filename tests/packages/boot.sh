#!/bin/sh
# boot.sh NAME BASE FOLDER [LOOP...]: in namespaces of its own, become the machine NAME.
# BASE is the root that all share, FOLDER where this machine's changes lie until it ends.
set -e
umask 022
name=$1 base=$2 folder=$3
shift 3

mount -t tmpfs none "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay -o "lowerdir=$base,upperdir=$folder/upper,workdir=$folder/work" none "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs none "$root/run"
mount -t tmpfs none "$root/sys/fs/cgroup"
mkdir "$root/sys/fs/cgroup/systemd"
mount -t cgroup -o none,name=systemd none "$root/sys/fs/cgroup/systemd"

mount -t tmpfs -o mode=755 none "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/dev/disk/by-id"
mount -t devpts -o newinstance,ptmxmode=0666 none "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
letters="A B C D"
for loop in "$@"; do
    letter=${letters%% *} letters=${letters#* }
    touch "$root$loop"
    mount --bind "$loop" "$root$loop"
    ln -s "../../${loop#/dev/}" "$root/dev/disk/by-id/ata-$letter"
done

hostname "$name"
echo "$name" > "$root/etc/hostname"
install -m 644 "$folder.hosts" "$root/etc/hosts"
ip link set lo up
cd "$root"
mkdir -p old
pivot_root . old
umount -l old
# The clock is everybody's, and so is the second version of control groups: no unit of ours there.
exec env -i container=vastsky PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_boot \
    /lib/systemd/systemd --log-target=console --show-status=no \
    systemd.unified_cgroup_hierarchy=no systemd.legacy_systemd_cgroup_controller=yes
