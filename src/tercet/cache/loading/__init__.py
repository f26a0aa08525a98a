"""One load for all who ask: flights in this process, leases among processes, and what is kept of it."""
