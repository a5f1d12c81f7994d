"""Communicate between the ranks of a run: failures, consistency, shared flags."""
