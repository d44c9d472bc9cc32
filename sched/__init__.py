"""The scheduler: unit files, where each unit runs, and how it is kept running there."""
