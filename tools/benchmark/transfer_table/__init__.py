"""Compare initializations by fine-tuning: runs, tables and plots of a suite."""
