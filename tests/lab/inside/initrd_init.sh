#!/bin/sh
# The first process of a guest: load modules, lay memory over the read-only root, go there.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod "/modules/$module"; done < /modules/order
$b mount -t squashfs -o ro /dev/vda /ro
$b mount -t tmpfs -o size=64m tmpfs /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /new
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144 src /new/src
$b mount --move /dev /new/dev
$b umount /proc
exec $b switch_root /new /src/tests/lab/inside/init.sh
