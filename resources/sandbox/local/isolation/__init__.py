"""Kernel mechanisms that confine and measure a local sandbox."""
