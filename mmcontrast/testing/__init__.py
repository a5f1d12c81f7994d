"""Help to test methods: golden cases, gloo ranks, preloaded processes."""
