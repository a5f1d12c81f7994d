"""Communication between the ranks of a run: failures, consistency, shared flags."""
