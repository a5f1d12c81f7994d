"""One file a suite; ``tools/benchmark/timing/frame.py`` shows how to write one."""
