"""Read phrases and the objects that they mean, in the formats of the benchmarks."""
