"""What was found put into words and figures."""
