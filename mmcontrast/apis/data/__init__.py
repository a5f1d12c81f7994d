"""Write data sets to disk: the functions behind ``tools/data/``."""
