"""Resume exactly: a resumed run gives the same weights as an uninterrupted one."""
