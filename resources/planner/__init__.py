"""Planners: one port and its implementations."""
