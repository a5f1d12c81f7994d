"""The functions behind `tools/data/`."""
