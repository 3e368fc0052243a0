"""Many steps into few, many bits into few."""
