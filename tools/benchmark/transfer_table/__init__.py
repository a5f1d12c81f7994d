"""Benchmark tables: pretrain, export, fine-tune and test, seed by seed."""
