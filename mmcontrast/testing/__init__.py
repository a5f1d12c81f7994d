"""Helpers for the tests of methods: golden cases, gloo ranks, warm processes."""
