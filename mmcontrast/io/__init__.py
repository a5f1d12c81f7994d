"""Read and write files: checkpoints as data only, atomic writes, manifests."""
