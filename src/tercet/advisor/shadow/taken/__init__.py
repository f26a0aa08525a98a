"""What a shadow takes from production: its schema, its statistics, the ends of its indexed columns."""
