"""The entry point of `tfsctl` and `python -m control_plane`."""

from control_plane.cli.app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="tfsctl")


if __name__ == "__main__":
    main()
