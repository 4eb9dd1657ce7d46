"""Long and random runs that look for races, losses and leaks."""
