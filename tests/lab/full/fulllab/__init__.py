"""The full lab: the lab cloud's control plane for real computes, on lab hosts that it boots itself."""
