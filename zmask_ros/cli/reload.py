"""`zmask reload`: new profiles for a running node."""

from __future__ import annotations

import click

from zmask_ros.errors import ZmaskError


@click.command()
@click.option("--namespace", default="/", help="Namespace of the node, such as /front.")
@click.option("--timeout", default=60.0, help="Seconds to wait for the node, and then for its answer.")
def command(namespace: str, timeout: float) -> None:
    """Have a running defense_node read its profiles again, without losing a frame.

    A profile that does not fit the network is refused, with exit code 2, and the one before stays in use. Every frame
    has its flag meanwhile; those that would have to wait are unknown.

    \b
      mv new.zmask.safetensors /etc/zmask/front.zmask.safetensors && zmask reload --namespace /front
    """
    try:
        from zmask_ros.node.reload import reload_profiles
    except ImportError as error:
        raise ZmaskError(
            f"zmask reload needs ROS 2 and this package's messages ({error}): source their setup.bash first."
        ) from error
    click.echo(reload_profiles(f"/{namespace.strip('/')}/defense_node".replace("//", "/"), timeout))
