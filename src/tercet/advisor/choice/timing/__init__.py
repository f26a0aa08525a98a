"""A plan's milliseconds: the planner's figures weighed by what its steps were measured to take."""
