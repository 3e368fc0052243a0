"""Judging: suites, tables and results that can be saved and shown."""
