"""Patched modules."""
