"""One decorated function: its calls as values, the code that is written for it, what the cache does for it."""
