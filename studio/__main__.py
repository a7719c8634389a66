"""`python -m studio`, the same as `edge-studio`."""

import sys


def main() -> int:
    """Run the command line; nothing heavy is imported before a verb needs it."""
    from studio.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
