"""``python -m evogit``: the same as the console script."""

from evogit.cli.main import main

if __name__ == "__main__":
    main()
