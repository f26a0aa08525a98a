"""A shadow is made: schema, statistics, files without rows, and what is supposed to be there besides."""
