"""Live migration of servers with vGPUs: what is looked at before, how long the guest stands still, what it came to."""
