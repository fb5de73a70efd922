"""Interfaces that others defined, served over our own services: one module each, with its dialect."""
