"""Figures beside their peers: each module measures one row group, `python -m bench` prints and records them."""
