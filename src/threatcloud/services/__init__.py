"""Use cases: each takes the store, the time and domain values, and gives domain values."""
