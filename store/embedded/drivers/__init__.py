"""Drivers: the log in SQLite."""
