"""What an operator asks of the rows: read-only, in a fixed number of queries."""
