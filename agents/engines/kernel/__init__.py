"""The kernel engine: iSCSI, the device mapper and md of Linux itself, driven by their own files."""
