"""Score the boxes and masks of phrases that mean one object, several or none."""
