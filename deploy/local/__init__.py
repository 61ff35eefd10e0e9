"""One machine as a whole cluster: manager, broker, and nodes on loopback addresses of their own."""
