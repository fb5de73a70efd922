"""Shapes of interfaces that others defined, as their clients send and read them: pure, one module each."""
