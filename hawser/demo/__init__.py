"""`hawser demo`: the whole idea on this machine, for real, with every claim checked.

`stage` is a private world (own network and mount namespace, own directory, own node process, a namespace for the
outside), `probes` are the clients in it, `story` is what happens, `report` is how it is told.
"""
