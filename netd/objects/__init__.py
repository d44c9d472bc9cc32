"""Tenant networks as declared objects: their written forms, the catalogue in the store, and apply."""
