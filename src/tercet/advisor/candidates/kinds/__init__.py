"""The kinds of index that are thought of, one a file."""
