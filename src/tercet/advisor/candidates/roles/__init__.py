"""The role that each column of a table plays in a statement."""
