"""`hawser demo`."""

import click


@click.command()
@click.option("--keep", is_flag=True, help="Leave it running to look at.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.option("--prepare", is_flag=True, help="Only build the images' tarballs.")
def demo(keep: bool, json_: bool, prepare: bool) -> int:
    """The whole stack on this machine, end to end, and what it shows.

    A private node in a temporary directory and namespace runs two tenants' applications; every claim is checked, and
    the command ends with 0 only if all of them hold. Nothing of the machine is touched.
    """
    from ..demo import main

    if prepare:
        main.prepare()
        return 0
    return main.demo(keep=keep, quiet=json_)
