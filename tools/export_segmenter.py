"""Turn a training checkpoint into the weights that are shipped: fp16 safetensors.

python tools/export_segmenter.py out/train/long.pt -o models/lraspp_camvid.safetensors
"""

from __future__ import annotations

from pathlib import Path

import click
import torch
from safetensors.torch import save

from zmask_ros.io.files import replace_file


@click.command(help=__doc__)
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def main(checkpoint: Path, output: Path) -> None:
    """Read a checkpoint, halve its precision, write it."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in state.items()}
    replace_file(output, save(half))
    click.echo(f"{output}: {output.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
