"""Suites, grading, statistics, gate and report. Knows models and tasks; nothing of how a model is served."""
