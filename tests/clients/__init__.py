"""Servers and clients of others, unmodified, with everything patched."""
