"""Proofs of the store by what its clients saw: recorded histories, and checkers that are proven by planted bugs."""
