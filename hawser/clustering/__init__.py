"""A node that is of a cluster: how it founds one, joins one, runs its part of one, and leaves it."""
