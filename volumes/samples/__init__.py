"""What was done over time: samples are taken, kept for a day and a year, and read."""
