"""`hawser demo`."""

import click


@click.command()
@click.option("--keep", is_flag=True, help="Leave it running to look at.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.option("--prepare", is_flag=True, help="Only build the images' tarballs.")
@click.option("--cluster", "cluster_", is_flag=True, help="Three machines instead: one cluster, one of them dies.")
def demo(keep: bool, json_: bool, prepare: bool, cluster_: bool) -> int:
    """The whole stack on this machine, end to end, and what it shows.

    A private node in a temporary directory and namespace runs two tenants' applications; every claim is checked, and
    the command ends with 0 only if all of them hold. Nothing of the machine is touched.
    """
    from ..demo import main

    if prepare:
        main.prepare()
        return 0
    if cluster_:
        if keep:
            raise click.UsageError("--keep is for the demo on one machine; a lab to keep: hawser lab up")
        return main.cluster(quiet=json_)
    return main.demo(keep=keep, quiet=json_)
