"""Shell completion: click's own generator, printed for the shell to source."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script: `source <(hawser completion bash)`."""
    generator = get_completion_class(shell)
    assert generator is not None
    root = click.get_current_context().find_root().command
    click.echo(generator(root, {}, "hawser", "_HAWSER_COMPLETE").source())
