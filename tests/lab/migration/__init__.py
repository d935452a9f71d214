"""Two real libvirt daemons on one machine, and guests that tell from outside how long they stood still."""
