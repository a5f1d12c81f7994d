"""Provide optimizers, parameter groups and schedules."""
