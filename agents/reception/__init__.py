"""HTTP/1.1 by threads that only work: whoever is silent waits in a place that costs none."""
