"""What is wrong in a fleet: the host, Placement, Nova and Keystone held against each other."""
