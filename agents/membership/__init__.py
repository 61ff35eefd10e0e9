"""How a machine joins a cluster, looks after itself there, and keeps its certificate valid."""
