"""Writing entities: PostgreSQL in the transaction, the other stores after its commit, each value once and in order."""
