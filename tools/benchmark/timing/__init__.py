"""Time functions side by side and write the tables."""
