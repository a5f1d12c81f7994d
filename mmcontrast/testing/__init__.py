"""Helpers for the tests of methods, ours and those of users."""
