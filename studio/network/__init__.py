"""The model in memory: ordered nodes of a closed operator set, its cost and its channel groups."""
