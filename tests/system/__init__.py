"""Programs in fresh processes: what happens when the system has no more, forks, signals or ends."""
