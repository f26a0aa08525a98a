"""Activities: a document in MongoDB and a count in Redis, counted once however often it is told."""
