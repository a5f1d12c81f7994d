"""Define timing suites, one per file; ``timing/frame.py`` shows how to write one."""
