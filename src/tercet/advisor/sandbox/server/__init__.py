"""A server of our own for a while: started, reached, and gone without a trace."""
