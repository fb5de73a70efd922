"""Connections this server opens of its own accord."""
