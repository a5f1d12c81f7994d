"""Read images from zip archives, lmdb databases and tar shards."""
