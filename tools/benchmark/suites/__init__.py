"""One file a suite; ``mmcontrast/apis/benchmark.py`` shows how to write one."""
