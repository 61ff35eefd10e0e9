"""What smartd and the kernel say of disks is told to the manager: `vastsky-node monitor`."""
