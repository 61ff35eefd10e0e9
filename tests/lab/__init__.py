"""The lab: a whole cluster of virtual machines with real kernels and real block devices."""
