"""Time suites of functions and write the results as tables."""
