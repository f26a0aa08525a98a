"""Mean data: where answers change, rows lie."""
