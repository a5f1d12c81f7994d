"""Resume exactly: a killed run ends like the uninterrupted one."""
