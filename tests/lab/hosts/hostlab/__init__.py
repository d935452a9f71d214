"""The lab's GPU hosts: QEMU virtual machines whose kernel has mediated devices, with libvirt, mdevctl and sshd."""
