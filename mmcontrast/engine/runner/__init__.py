"""The Runner that `tools/train.py` uses."""
