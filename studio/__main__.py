"""`python -m studio`, the same as `edge-studio`."""

import sys


def main() -> int:
    """Run the command line; nothing heavy is imported before a verb needs it."""
    try:
        from studio.cli.main import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # before a verb has begun; `guarded` sees to the rest
        return 130


if __name__ == "__main__":
    sys.exit(main())
