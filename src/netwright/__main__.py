"""`python -m netwright` is the `netwright` command."""

from netwright.cli.main import run

if __name__ == "__main__":
    run()
