"""When to ask whom, and the join of all answers into one snapshot."""
