#!/bin/sh
# Make a block device one that a machine boots from: a file system, a boot loader, a kernel, and a
# first process that counts its starts in a file, says so on the serial line, and powers off.
set -e
device=$1 mounted=/mnt/bootable made=/run/bootable
modules="virtio_pci virtio_blk ext4"
mkdir -p $mounted $made/bin $made/modules
cp /usr/bin/busybox $made/bin/busybox
for module in $modules; do
    modprobe --show-depends $module | while read -r verb file _; do
        [ "$verb" != insmod ] || { cp "$file" $made/modules; echo "${file##*/}"; }
    done
done | awk '!seen[$0]++' > $made/modules/order
cat > $made/init <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /dev /disk
$b mount -t devtmpfs dev /dev
while read -r module; do $b insmod /modules/$module; done < /modules/order
$b mount -t ext4 /dev/vda /disk
echo once more >> /disk/starts
$b sync
echo "started $($b wc -l < /disk/starts) times" > /dev/ttyS0
$b umount /disk
$b poweroff -f
INIT
chmod +x $made/init
mkfs.ext4 -q -O ^64bit,^metadata_csum -E nodiscard -J size=4 "$device"
mount "$device" $mounted
cp /boot/vmlinuz $mounted/linux
(cd $made && find . | busybox cpio -o -H newc) > $mounted/initrd
extlinux --install $mounted
cat > $mounted/extlinux.conf <<'CONF'
serial 0
default linux
label linux
    kernel /linux
    initrd /initrd
    append console=ttyS0 quiet mitigations=off nokaslr
CONF
umount $mounted
