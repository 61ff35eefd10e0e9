"""The thrasher: a real cluster whose parts fail at random, and an oracle that knows every write."""
